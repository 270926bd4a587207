import { parseConstraint, parseSpread } from '../../base/constraint.ts';
import { GENERIC_KIND } from '../../base/generic-resource.ts';
import type { TaskSpec } from '../../proto/types/index.ts';

/** What is wrong with where a task may go, in one sentence without its subject; undefined: nothing. */
export function placementFault({
  constraints,
  placement,
  reservations,
}: Pick<TaskSpec, 'constraints' | 'placement' | 'reservations'>): string | undefined {
  for (const text of constraints) {
    const parsed = parseConstraint(text);
    if (typeof parsed === 'string') return `the placement constraint "${text}" ${parsed}`;
  }
  for (const text of placement?.spread ?? []) {
    const parsed = parseSpread(text);
    if (typeof parsed === 'string') return `the placement preference ${parsed}`;
  }
  const kinds = new Set<string>();
  for (const { kind, count, names } of reservations.generic ?? []) {
    if (!GENERIC_KIND.test(kind)) return `"${kind}" is not a kind of resource`;
    if (kinds.has(kind)) return `it asks for the resource "${kind}" twice`;
    if (!Number.isInteger(count) || count < 1)
      return `it asks for ${count} of the resource "${kind}", expected 1 or more`;
    if (names.length > 0 && names.length !== count) return `it asks for ${count} "${kind}" and names ${names.length}`;
    kinds.add(kind);
  }
  const most = placement?.maxReplicasPerNode ?? 0;
  if (!Number.isInteger(most) || most < 0) return `at most ${most} replicas per node, expected 0 or more`;
  return undefined;
}
