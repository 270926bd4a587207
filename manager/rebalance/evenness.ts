import { parseSpread } from '../../base/constraint.ts';
import type { SpreadLabel } from '../../base/constraint.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Node, Service } from '../../proto/types/index.ts';
import { labelOf } from '../model/constraints.ts';

/** Tasks of a service on each node; those without any count too. */
export type Counts = ReadonlyMap<NodeId, number>;

/**
 * How unevenly tasks are spread, the preference that comes first first, the nodes themselves last: for each the sum of the squares, which is
 * the smaller the more even they are.
 */
export function unevenness(counts: Counts, nodes: readonly Node[], service: Service): readonly number[] {
  const labels = (service.spec.task.placement?.spread ?? []).flatMap((text): SpreadLabel[] => {
    const label = parseSpread(text);
    return typeof label === 'string' ? [] : [label];
  });
  const levels = Array.from({ length: labels.length + 1 }, () => new Map<string, number>());
  for (const node of nodes) {
    const count = counts.get(node.id) ?? 0;
    let branch = '';
    for (const [level, sums] of levels.entries()) {
      const label = labels[level];
      branch += label === undefined ? `\n${node.id}` : `\n${labelOf(label, node).toLowerCase()}`;
      sums.set(branch, (sums.get(branch) ?? 0) + count);
    }
  }
  return levels.map((sums) => [...sums.values()].reduce((sum, count) => sum + count * count, 0));
}

/** Whether the first is less even than the second. */
export function isWorse(a: readonly number[], b: readonly number[]): boolean {
  for (const [level, value] of a.entries()) if (value !== b[level]) return value > (b[level] ?? 0);
  return false;
}
