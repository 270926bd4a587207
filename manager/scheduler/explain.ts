import type { Demand } from './demand.ts';
import { ROOM, STANDING, holdingWords } from './filters.ts';
import type { Words } from './filters.ts';
import type { NodeEntry } from './node-entry.ts';

/** Nodes that hold the volumes and paths of a demand, by these; what is nowhere yet is left out. */
export type Homes = ReadonlyMap<string, ReadonlySet<string>>;

/**
 * Why no node fits: "no suitable node: 2 of 5 lack 512 MB of memory, 3 do not match node.labels.disk==ssd". Of every node the
 * first thing that hinders is said; those that lack least come first.
 * @param bound the node that the task is for, where it is for one alone
 */
export function explain(
  demand: Demand,
  entries: Iterable<NodeEntry>,
  homes: Homes,
  bound: NodeEntry | undefined,
): string {
  if (bound !== undefined)
    return `no suitable node: its node ${hindrance(demand, bound, homes)?.words[0] ?? 'is gone'}`;
  const counts = new Map<string, { count: number; readonly step: number; readonly words: Words }>();
  let total = 0;
  for (const entry of entries) {
    total++;
    const found = hindrance(demand, entry, homes);
    if (found === undefined) continue;
    const known = counts.get(found.words[1]);
    if (known === undefined) counts.set(found.words[1], { count: 1, ...found });
    else known.count++;
  }
  if (total === 0) return 'no suitable node: the cluster has no node';
  const parts = [...counts.values()]
    .sort((a, b) => b.step - a.step || b.count - a.count || (a.words[1] < b.words[1] ? -1 : 1))
    .map(({ count, words }, i) => `${count}${i === 0 ? ` of ${total}` : ''} ${words[count === 1 ? 0 : 1]}`);
  return `no suitable node: ${parts.join(', ')}`;
}

/** The first rule that the node fails, with how far it came. */
function hindrance(
  demand: Demand,
  entry: NodeEntry,
  homes: Homes,
): { readonly step: number; readonly words: Words } | undefined {
  let step = 0;
  for (const filter of STANDING) {
    step++;
    if (filter.applies(demand) && !filter.passes(demand, entry)) return { step, words: filter.words(demand, entry) };
  }
  step++;
  for (const [place, nodes] of homes) if (!nodes.has(entry.node.id)) return { step, words: holdingWords(place) };
  for (const filter of ROOM) {
    step++;
    if (filter.applies(demand) && !filter.passes(demand, entry)) return { step, words: filter.words(demand, entry) };
  }
  return undefined;
}
