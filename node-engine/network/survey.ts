/** What the node's network is like, for whoever looks for faults in it: read from the kernel, nothing is changed. */
import { readFileSync } from 'node:fs';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import { runProgram } from '../native/addon.ts';
import type { NetworkSurvey } from '../types.ts';
import { surveyBridges } from './bridges.ts';
import { hostSubnets } from './host-routes.ts';
import { PROBE_NAME, parseTunnelAlias } from './names.ts';
import type { Link } from './route.ts';
import type { vxlansOf } from './vxlan.ts';
import { forwardDrops, setMembers } from './nft-listing.ts';

/** @param table name of our own tables @throws NETWORK_FAILED where nft(8) cannot be run */
export async function surveyNetwork(instance: string, table: string): Promise<NetworkSurvey> {
  const [{ bridges, addresses, links, vxlans }, rules, own] = await Promise.all([
    surveyBridges(instance),
    listing(['-t', 'list', 'ruleset']),
    // It fails where the table is missing: then there are no members.
    listing(['list', 'set', 'ip', table, 'bridges']).catch(() => ({})),
  ]);
  const probe = links.find(({ name }) => name === PROBE_NAME);
  const nameOf = (index: number): string => links.find((link) => link.index === index)?.name ?? '';
  const isBridge = new Set(bridges.map(({ link }) => link.index));
  return {
    forwarding: readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8').trim() === '1',
    bridges: bridges.map(({ id, link, addresses: own }) => ({
      id,
      name: link.name,
      up: link.up,
      mtu: link.mtu,
      addresses: own.map(({ ipv4, prefix }) => `${ipv4}/${prefix}`),
    })),
    ruled: setMembers(own),
    ...(probe === undefined ? {} : { probeMtu: probe.mtu }),
    foreignTunnels: foreignTunnels(instance, links, vxlans),
    drops: forwardDrops(rules, table),
    addresses: addresses
      .filter(({ linkIndex }) => !isBridge.has(linkIndex))
      .map(({ linkIndex, ipv4, prefix }) => ({ device: nameOf(linkIndex), address: `${ipv4}/${prefix}` })),
    routes: hostSubnets(),
  };
}

/** VXLAN devices that are none of this daemon's. */
export function foreignTunnels(
  instance: string,
  links: readonly Link[],
  vxlans: ReturnType<typeof vxlansOf>,
): NetworkSurvey['foreignTunnels'] {
  return links.flatMap(({ index, name, alias }) => {
    const is = vxlans.get(index);
    if (is === undefined || parseTunnelAlias(alias)?.instance === instance) return [];
    return [{ name, vni: is.vni, port: is.port }];
  });
}

async function listing(args: readonly string[]): Promise<unknown> {
  try {
    const { code, stdout, stderr } = await runProgram('nft', ['-j', ...args]);
    if (code !== 0) throw new Error(stderr.toString().trim() || `it ended with ${code}`);
    return JSON.parse(stdout.toString());
  } catch (cause) {
    throw new TsswarmError('NETWORK_FAILED', `cannot read the firewall rules: ${messageOf(cause)}`, { cause });
  }
}
