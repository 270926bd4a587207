import type { PortProtocol, PublishedPort, PublishMode } from '../../../../proto/types/index.ts';
import { csvPairs, portRange, refuseValue, word } from './values.ts';

const PROTOCOLS: readonly PortProtocol[] = ['tcp', 'udp', 'sctp'];

/**
 * `--publish`: "[ip:][published:]target[/protocol]", where both may be ranges of the same length, or a range of which one is chosen, or
 * "published=…,target=…,protocol=…,mode=ingress|host,x-source=keep|node".
 * @throws INVALID_INPUT
 */
export function parsePublish(flag: string, text: string): readonly PublishedPort[] {
  return text.includes('=') ? long(flag, text) : short(flag, text);
}

function long(flag: string, text: string): readonly PublishedPort[] {
  let target = '';
  let published = '';
  let protocol: PortProtocol = 'tcp';
  let mode: PublishMode = 'ingress';
  let source = 'node';
  for (const [key, value] of csvPairs(flag, text)) {
    if (key === 'target') target = value;
    else if (key === 'published') published = value;
    else if (key === 'protocol') protocol = word(flag, value, PROTOCOLS);
    else if (key === 'mode') mode = word(flag, value, ['ingress', 'host']);
    else if (key === 'x-source') source = word(flag, value, ['keep', 'node']);
    else refuseValue(flag, text, `the key "${key}" is not known: target, published, protocol, mode and x-source are`);
  }
  if (target === '') refuseValue(flag, text, 'it has no target port');
  return ports(flag, text, {
    hostIp: '',
    published,
    target,
    protocol,
    mode,
    ...(source === 'keep' && mode === 'ingress' ? { source } : {}),
  });
}

function short(flag: string, text: string): readonly PublishedPort[] {
  const match = /^(?:(?:(\[[0-9a-f:]+\]|\d+\.\d+\.\d+\.\d+):)?([\d-]*):)?([\d-]+)(?:\/([a-z]+))?$/i.exec(text);
  if (match === null) return refuseValue(flag, text, 'expected [ip:][published:]target[/protocol]');
  const [, hostIp = '', published = '', target = '', protocol = 'tcp'] = match;
  return ports(flag, text, {
    hostIp: hostIp.replace(/[[\]]/g, ''),
    published,
    target,
    protocol: word(flag, protocol.toLowerCase(), PROTOCOLS),
    mode: 'ingress',
  });
}

interface Ranges extends Pick<PublishedPort, 'hostIp' | 'protocol' | 'mode' | 'source'> {
  readonly published: string;
  readonly target: string;
}

function ports(flag: string, text: string, { published, target, ...rest }: Ranges): readonly PublishedPort[] {
  const [first, last] = portRange(flag, text, target);
  const open = published === '' || published === '0';
  const [from, to] = open ? [0, 0] : portRange(flag, text, published);
  // Of several for one port of the container one is chosen.
  if (last === first && to > from) return [{ target: first, published: from, publishedEnd: to, ...rest }];
  if (!open && to - from !== last - first) refuseValue(flag, text, 'the two ranges differ in length');
  return Array.from({ length: last - first + 1 }, (_, index) => ({
    target: first + index,
    published: open ? 0 : from + index,
    ...rest,
  }));
}

/** `--publish-rm`: a target port, "80" or "80/udp". @throws INVALID_INPUT */
export function parseTargetPort(flag: string, text: string): Pick<PublishedPort, 'target' | 'protocol'> {
  const [port = '', protocol = 'tcp', ...more] = text.split('/');
  if (more.length > 0 || port.includes('-')) refuseValue(flag, text, 'expected a target port such as 80 or 80/udp');
  return { target: portRange(flag, text, port)[0], protocol: word(flag, protocol, PROTOCOLS) };
}
