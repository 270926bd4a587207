import type { FoundDrift } from '../../../node-engine/types.ts';
import type { Drift } from '../../../proto/types/index.ts';

/** What is told of a task: enough to see what goes on, and little enough to be said to all managers. */
const MOST = 20;

/**
 * What is known of a container after another look. What was repaired stays told; what was not, as long as it is there.
 * @param now wall time, ms
 * @returns `known` itself when there is nothing new to say
 */
export function mergeDrifts(known: readonly Drift[], found: readonly FoundDrift[], now: number): readonly Drift[] {
  const before = new Map(known.map((one) => [one.field, one]));
  const news = found.map((one): Drift => {
    const old = before.get(one.field);
    // The same as at the last look, still there: it was not found again.
    if (old !== undefined && !old.repaired && !one.repaired && old.found === one.found && old.reason === one.reason)
      return old;
    return { ...one, at: now, count: (old?.count ?? 0) + 1 };
  });
  const fields = new Set(found.map(({ field }) => field));
  const kept = known.filter((one) => !fields.has(one.field) && one.repaired);
  const merged = [...news, ...kept].sort((a, b) => b.at - a.at).slice(0, MOST);
  return merged.length === known.length && merged.every((one, index) => one === known[index]) ? known : merged;
}
