import { parseConstraint, parseSpread } from '../../base/constraint.ts';
import type { TaskSpec } from '../../proto/types/index.ts';

/** What is wrong with where a task may go, in one sentence without its subject; undefined: nothing. */
export function placementFault({
  constraints,
  placement,
}: Pick<TaskSpec, 'constraints' | 'placement'>): string | undefined {
  for (const text of constraints) {
    const parsed = parseConstraint(text);
    if (typeof parsed === 'string') return `the placement constraint "${text}" ${parsed}`;
  }
  for (const text of placement?.spread ?? []) {
    const parsed = parseSpread(text);
    if (typeof parsed === 'string') return `the placement preference ${parsed}`;
  }
  const most = placement?.maxReplicasPerNode ?? 0;
  if (!Number.isInteger(most) || most < 0) return `at most ${most} replicas per node, expected 0 or more`;
  return undefined;
}
