/** Ends flows over UDP that lead where their port leads no more. */
import type { PortForward } from '../types.ts';
import { surveyBridges } from './bridges.ts';
import type { Flow } from './conntrack.ts';
import { addressBytes, formatBytes } from './address.ts';
import { UDP, deleteFlow, flowsOf, listUdpFlows } from './conntrack.ts';
import { tryKernel } from './kernel.ts';

/** The UDP ports whose backends differ, those that came or went included. Pure. */
export function changedUdpPorts(before: readonly PortForward[], now: readonly PortForward[]): readonly number[] {
  const describe = (forwards: readonly PortForward[]): ReadonlyMap<string, string> =>
    new Map(
      forwards
        .filter(({ protocol }) => protocol === 'udp')
        .map(({ hostIp, port, backends }) => [`${port} ${hostIp}`, JSON.stringify(backends)]),
    );
  const [old, wanted] = [describe(before), describe(now)];
  const keys = [...new Set([...old.keys(), ...wanted.keys()])].filter((key) => old.get(key) !== wanted.get(key));
  return [...new Set(keys.map((key) => Number(key.split(' ')[0])))];
}

/** As flows have it. */
const plain = (ipv6: string): string => formatBytes(addressBytes(ipv6));
const LOOPBACK = plain('::1');

/**
 * Ends the flows to these ports of the node whose backend is not among the port's. Flows that began when the port led
 * nowhere are such, too. What containers send to the same port of other machines is left alone.
 */
export async function endStaleFlows(ports: readonly number[], forwards: readonly PortForward[]): Promise<void> {
  if (ports.length === 0) return;
  const { addresses, ipv6Addresses } = await surveyBridges('');
  const own = new Set([
    ...addresses.map(({ ipv4 }) => ipv4),
    ...ipv6Addresses.map(({ ipv6 }) => plain(ipv6)),
    LOOPBACK,
  ]);
  for (const port of ports) {
    const backends = new Set(
      forwards
        .filter((forward) => forward.protocol === 'udp' && forward.port === port)
        .flatMap(({ backends: all }) => all)
        .flatMap(({ ipv4, ipv6, port: at }) =>
          [ipv4, ...(ipv6 === undefined ? [] : [plain(ipv6)])].map((ip) => `${ip}:${at}`),
        ),
    );
    const here = ({ protocol, destination, ...flow }: Flow): boolean =>
      protocol === UDP && flow.port === port && (own.has(destination) || destination.startsWith('127.'));
    // That a kernel cannot list them is no reason to fail: they end by themselves, later.
    const { netfilter } = await tryKernel({ netfilter: [listUdpFlows('ip', port), listUdpFlows('ip6', port)] });
    const stale = flowsOf(netfilter).filter((flow) => here(flow) && !backends.has(flow.backend));
    if (stale.length > 0) await tryKernel({ netfilter: stale.map(deleteFlow) });
  }
}
