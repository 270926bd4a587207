import { limitIn, setOneLimit, setScore } from '../live/processes.ts';
import type { ProcessCalls } from '../live/processes.ts';
import type { ContainerRecord } from '../record.ts';
import { resolveRlimits } from '../resources.ts';
import type { Difference, Freedom } from './difference.ts';

/** Of more processes than these a container is looked at a part. */
const MOST_PROCESSES = 256;

/**
 * Processes with more than they are allowed. A process may lower its own limits, move its soft limit below the hard one, and offer
 * itself to the out-of-memory killer: only what it cannot have done by itself counts, a hard limit above the one asked for, and a place further
 * back with the killer.
 * @param read the text of a file of /proc; undefined: the process has ended
 */
export function processDifferences(
  calls: ProcessCalls,
  { spec, name }: Pick<ContainerRecord, 'spec' | 'name'>,
  freedom: Pick<Freedom, 'limits'>,
  read: (path: string) => string | undefined,
): readonly Difference[] {
  const limits = resolveRlimits(spec.ulimits);
  if (freedom.limits || (limits.length === 0 && spec.oomScoreAdj === 0)) return [];
  const found: Difference[] = [];
  for (const pid of calls.list().slice(0, MOST_PROCESSES)) {
    const text = limits.length === 0 ? '' : (read(`/proc/${pid}/limits`) ?? '');
    for (const limit of limits) {
      const now = text === '' ? undefined : limitIn(text, limit.type);
      if (now === undefined || now.hard <= limit.hard) continue;
      found.push({
        field: `ulimit ${limit.type.slice('RLIMIT_'.length).toLowerCase()} of process ${pid}`,
        expected: `at most ${words(limit.hard)}`,
        found: words(now.hard),
        mend: () => setOneLimit(calls, pid, limit, name),
      });
    }
    const score = spec.oomScoreAdj === 0 ? '' : (read(`/proc/${pid}/oom_score_adj`) ?? '');
    if (score !== '' && Number(score) < spec.oomScoreAdj)
      found.push({
        field: `oom_score_adj of process ${pid}`,
        expected: `at least ${spec.oomScoreAdj}`,
        found: score.trim(),
        mend: () => setScore(pid, spec.oomScoreAdj, name),
      });
  }
  return found;
}

const words = (value: number): string => (value === Infinity ? 'unlimited' : String(value));
