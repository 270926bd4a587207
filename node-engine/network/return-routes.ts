/**
 * The way back of calls that another node has handed over with the caller's own address: the answer goes to that node, which alone can turn
 * it into one of its own. Connections that came from a node are marked with its number (ruleset.ts); packets with the mark take the mesh.
 */
import { readFileSync } from 'node:fs';
import { meshIpv6 } from '../../base/mesh-address.ts';
import type { PortNode } from '../types.ts';
import { parseIpv4 } from './address.ts';
import { kernel, tryKernel } from './kernel.ts';
import { hasIpv6 } from './ipv6.ts';
import { MESH_NAME } from './names.ts';
import type { Family } from './policy-route.ts';
import { addMarkRule, deleteMarkRule, listMarkRules, markRulesOf, setTableRoute } from './policy-route.ts';
import { getLink, linksOf } from './route.ts';

/** Before the main table (32766), behind rules that VPNs usually have. */
const PRIORITY = 32_700;
const TAG = 0x74730000;
const SUBJECT = 'the mesh of published ports';

/** What marks connections that come from a node, by its mesh address: a number of 32 bits whose upper half is ours. */
export const markOf = (meshAddress: string): number => (TAG | (parseIpv4(meshAddress) & 0xffff)) >>> 0;

/** The upper half of all marks, and what masks it. */
export const MARKS = { value: TAG, mask: 0xffff0000 } as const;

/**
 * Makes the rules and routes for exactly these nodes. Routes need the mesh: while it is missing, or being made, they are left out.
 * @param families those that calls come by; of the others there are none afterwards
 * @throws NETWORK_FAILED, where the kernel has no routing by marks for instance
 */
export async function setReturnRoutes(nodes: readonly PortNode[], families: readonly Family[]): Promise<void> {
  for (const family of hasIpv6() ? (['ip', 'ip6'] as const) : (['ip'] as const))
    await setRoutesOf(family, families.includes(family) ? nodes : []);
}

async function setRoutesOf(family: Family, nodes: readonly PortNode[]): Promise<void> {
  const asked = { outside: [listMarkRules(family), getLink(MESH_NAME)] };
  // Where there is no such routing there is nothing to remove.
  const { outside } = nodes.length === 0 ? await tryKernel(asked) : await kernel(SUBJECT, asked);
  const wanted = new Map(nodes.map(({ meshAddress }) => [markOf(meshAddress), meshAddress]));
  const known = new Set(markRulesOf(family, PRIORITY, outside));
  const [mesh] = linksOf(outside);
  const gatewayOf = (address: string): string => (family === 'ip' ? address : meshIpv6(address));
  const changes = [
    ...[...known].flatMap((mark) => (wanted.has(mark) ? [] : [deleteMarkRule(family, PRIORITY, mark)])),
    ...[...wanted].flatMap(([mark, address]) => [
      ...(mesh?.up === true ? [setTableRoute(gatewayOf(address), mesh.index, mark)] : []),
      ...(known.has(mark) ? [] : [addMarkRule(family, PRIORITY, mark)]),
    ]),
  ];
  // Callers come over the mesh that nobody would look for there: any way to them will do. (IPv6 has no such check of its own.)
  const isStrict = family === 'ip' && mesh !== undefined && wanted.size > 0 && effectiveFilter() === '1';
  const sysctls = isStrict ? [[`net/ipv4/conf/${MESH_NAME}/rp_filter`, '2'] as const] : [];
  if (changes.length + sysctls.length > 0) await kernel(SUBJECT, { outside: changes, sysctls });
}

/** The higher one counts (ip-sysctl.rst). */
function effectiveFilter(): string {
  const read = (name: string): string => {
    try {
      return readFileSync(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, 'utf8').trim();
    } catch {
      return '0';
    }
  };
  const values = [read('all'), read(MESH_NAME)];
  return values.toSorted().at(-1) ?? '0';
}
