import type { ComposePort } from '../types/project.ts';
import { compact } from './reader.ts';
import type { Reader } from './reader.ts';

const LAST_PORT = 65_535;

/** All published ports of a service in long form; equal ranges become one entry a port. */
export function readPorts(list: Reader): readonly ComposePort[] {
  return list.items().flatMap((item, index) => (isMap(item) ? [longPort(item)] : shortPorts(list, index)));
}

const isMap = (reader: Reader): boolean => typeof reader.value === 'object' && reader.value !== null;

function longPort(item: Reader): ComposePort {
  const target = item.integer('target') ?? item.refuse(undefined, 'has no target port');
  checkPort(item, 'target', target);
  const published = item.text('published');
  if (published !== undefined && !/^\d+(-\d+)?$/.test(published))
    item.refuse('published', `is "${published}", expected a port or a range`);
  const [first = 0, last = first, ...more] = (published ?? '').split('-').map(Number);
  for (const number of [first, last]) checkPort(item, 'published', number);
  if (more.length > 0 || (last !== first && first === 0) || last < first)
    item.refuse('published', `is "${published}", expected a range from 1 on, the lower port first`);
  return compact({
    mode: (item.text('mode') ?? 'ingress') as ComposePort['mode'],
    host_ip: item.text('host_ip'),
    target,
    published,
    protocol: (item.text('protocol') ?? 'tcp') as ComposePort['protocol'],
    'x-source': item.text('x-source') as ComposePort['x-source'],
  }) as ComposePort;
}

function checkPort(item: Reader, key: string, port: number): void {
  if (port < 0 || port > LAST_PORT) item.refuse(key, `is ${port}, expected a port from 1 to ${LAST_PORT}`);
}

/** `[ip:][published:]target[/protocol]`, published and target may be ranges. */
function shortPorts(list: Reader, index: number): ComposePort[] {
  const text = list.text(index) ?? '';
  const bad = (what: string): never =>
    list.refuse(index, `is "${text}": ${what}`, 'the form is [host_ip:][published:]target[/protocol]');
  const [mapping = '', protocol = 'tcp', ...more] = text.split('/');
  if (more.length > 0 || !['tcp', 'udp', 'sctp'].includes(protocol))
    bad(`the protocol is "${protocol}", expected tcp, udp or sctp`);
  const v6 = /^\[([0-9a-fA-F:]+)\]:(.*)$/.exec(mapping);
  const parts = (v6?.[2] ?? mapping).split(':');
  if (parts.length > (v6 === null ? 3 : 2)) bad('there are too many colons');
  const targetText = parts.at(-1) ?? '';
  const published = parts.at(-2);
  const hostIp = v6?.[1] ?? (parts.length === 3 ? parts[0] : undefined);
  if (hostIp !== undefined && v6 === null && !/^(\d{1,3}\.){3}\d{1,3}$/.test(hostIp))
    bad(`"${hostIp}" is not an IP address`);
  const target = range(targetText) ?? bad(`"${targetText}" is not a port`);
  const host =
    published === undefined || published === '' ? undefined : (range(published) ?? bad(`"${published}" is not a port`));
  const port = (number: number, at?: string): ComposePort =>
    compact({ mode: 'ingress', host_ip: hostIp, target: number, published: at, protocol }) as ComposePort;
  const count = target[1] - target[0] + 1;
  if (host === undefined) return Array.from({ length: count }, (_, i) => port(target[0] + i));
  if (count === 1 && host[1] > host[0]) return [port(target[0], `${host[0]}-${host[1]}`)];
  if (host[1] - host[0] + 1 !== count) bad('the two ranges have different lengths');
  return Array.from({ length: count }, (_, i) => port(target[0] + i, String(host[0] + i)));
}

function range(text: string): readonly [number, number] | undefined {
  const match = /^(\d+)(?:-(\d+))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = match[2] === undefined ? first : Number(match[2]);
  return first > 0 && last <= LAST_PORT && first <= last ? [first, last] : undefined;
}
