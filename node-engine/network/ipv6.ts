/** The kernel's settings for IPv6, of the node's bridges and of interfaces in containers. */
import { existsSync, readFileSync } from 'node:fs';
import { TsswarmError } from '../../base/errors.ts';
import type { Firewall } from './firewall.ts';

type Sysctl = readonly [key: string, value: string];

const SETTINGS = 'net/ipv6/conf';

/**
 * What an interface with addresses of ours needs: no search for duplicates of its link-local address either, and nothing that a
 * neighbour advertises. In the order in which they count.
 */
export function ipv6Sysctls(name: string): readonly Sysctl[] {
  return [
    [`-${SETTINGS}/${name}/accept_dad`, '0'],
    [`-${SETTINGS}/${name}/accept_ra`, '0'],
    [`${SETTINGS}/${name}/disable_ipv6`, '0'],
  ];
}

/**
 * What a node needs for a bridge with IPv6. A machine that forwards takes no routes from advertisements any more, unless it is told
 * to (ip-sysctl.rst, accept_ra): interfaces that took them go on. And, as with IPv4, it does not become a router between its own cards.
 * @param links `hardware`: network cards of the node; `others` are all its interfaces that are not ours
 * @throws NETWORK_FAILED if the kernel has no IPv6
 */
export function turnIpv6On(
  subject: string,
  bridge: string,
  { hardware, others }: { readonly hardware: readonly string[]; readonly others: readonly string[] },
  firewall: Firewall,
): readonly Sysctl[] {
  if (!existsSync(`/proc/sys/${SETTINGS}/all/forwarding`))
    throw new TsswarmError('NETWORK_FAILED', `cannot set up ${subject}: this node's kernel has no IPv6`, {
      hint: 'start it without "ipv6.disable=1", or make the network without enable_ipv6',
    });
  const changes: Sysctl[] = ipv6Sysctls(bridge).filter(([key, value]) => read(key.replace(/^-/, '')) !== value);
  return [...changes, ...turnIpv6ForwardingOn({ hardware, others }, firewall)];
}

/** The part of it that any forwarding of IPv6 needs. */
export function turnIpv6ForwardingOn(
  { hardware, others }: { readonly hardware: readonly string[]; readonly others: readonly string[] },
  firewall: Firewall,
): readonly Sysctl[] {
  if (read(`${SETTINGS}/all/forwarding`) !== '0') return [];
  firewall.setIpv6Hardware(hardware);
  const routed = others.filter((name) => read(`${SETTINGS}/${name}/accept_ra`) === '1');
  return [...routed.map((name): Sysctl => [`${SETTINGS}/${name}/accept_ra`, '2']), [`${SETTINGS}/all/forwarding`, '1']];
}

/** The kernel speaks IPv6. */
export const hasIpv6 = (): boolean => existsSync(`/proc/sys/${SETTINGS}/all/forwarding`);

/** Whether packets that are bridged pass the rules of IPv6: what is addressed to ::1 then is dropped behind them. */
export const passesBridged = (): boolean => read('net/bridge/bridge-nf-call-ip6tables') === '1';

/** Undefined if there is no such setting. */
function read(key: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${key}`, 'utf8').trim();
  } catch {
    return undefined;
  }
}
