import { readFileSync, writeFileSync } from 'node:fs';
import { TsswarmError, errnoOf, messageOf } from '../../../base/errors.ts';
import type { OciRlimit } from '../oci.ts';
import type { ContainerRecord } from '../record.ts';
import { resolveRlimits } from '../resources.ts';

/** Numbers of resource limits, the same on every architecture that the engine runs on (asm-generic/resource.h of the kernel). */
const NUMBERS: Readonly<Record<string, number>> = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
};

/** The lines of /proc/PID/limits, by number. */
const LINES = [
  'Max cpu time',
  'Max file size',
  'Max data size',
  'Max stack size',
  'Max core file size',
  'Max resident set',
  'Max processes',
  'Max open files',
  'Max locked memory',
  'Max address space',
  'Max file locks',
  'Max pending signals',
  'Max msgqueue size',
  'Max nice priority',
  'Max realtime priority',
  'Max realtime timeout',
];

/** What is done to a container's processes. */
export interface ProcessCalls {
  /** Those that it has now. */
  readonly list: () => readonly number[];
  readonly setLimit: (pid: number, resource: number, soft: number, hard: number) => void;
  /** Whose limits the container's first process was born with. */
  readonly supervisor: number;
}

/**
 * Gives every process of a running container its resource limits and its place in the order of the out-of-memory killer. Those that are
 * no longer asked for are what its supervisor has.
 * @throws RUNTIME_FAILED when the kernel refuses: raising a hard limit takes a right that not every machine gives
 */
export function setProcessResources(calls: ProcessCalls, wanted: ContainerRecord, before: ContainerRecord): void {
  const limits = new Map(resolveRlimits(wanted.spec.ulimits).map((limit) => [limit.type, limit]));
  for (const { type } of resolveRlimits(before.spec.ulimits))
    if (!limits.has(type)) limits.set(type, inherited(calls.supervisor, type));
  const changed = [...limits.values()];
  const scores = wanted.spec.oomScoreAdj === before.spec.oomScoreAdj ? undefined : wanted.spec.oomScoreAdj;
  // A process that is born meanwhile has what its parent has: again until nobody is new.
  const done = new Set<number>();
  for (let isNew = true; isNew;) {
    isNew = false;
    for (const pid of calls.list()) {
      if (done.has(pid)) continue;
      isNew = true;
      done.add(pid);
      for (const limit of changed) setOneLimit(calls, pid, limit, wanted.name);
      if (scores !== undefined) setScore(pid, scores, wanted.name);
    }
  }
}

/** Limits one process; one that has ended is fine. @throws RUNTIME_FAILED */
export function setOneLimit(
  { setLimit: set }: ProcessCalls,
  pid: number,
  { type, soft, hard }: OciRlimit,
  name: string,
): void {
  const number = NUMBERS[type] ?? -1;
  const finite = (value: number): number => (value === Infinity ? -1 : value);
  try {
    set(pid, number, finite(soft), finite(hard));
  } catch (cause) {
    if (errnoOf(cause) === 'ESRCH') return;
    const more = errnoOf(cause) === 'EPERM' ? ' (raising a hard limit takes the capability SYS_RESOURCE)' : '';
    throw new TsswarmError(
      'RUNTIME_FAILED',
      `limiting "${type}" of container "${name}" to ${soft}:${hard}: ${messageOf(cause)}${more}`,
      { cause },
    );
  }
}

/** Moves one process in the order of the out-of-memory killer; one that has ended is fine. @throws RUNTIME_FAILED */
export function setScore(pid: number, score: number, name: string): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, String(score), { flag: 'r+' });
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT' || errnoOf(cause) === 'ESRCH') return;
    throw new TsswarmError(
      'RUNTIME_FAILED',
      `setting oom_score_adj of container "${name}" to ${score}: ${messageOf(cause)} (lowering it takes the capability SYS_RESOURCE)`,
      { cause },
    );
  }
}

const inherited = (pid: number, type: string): OciRlimit => limitIn(readFileSync(`/proc/${pid}/limits`, 'utf8'), type);

/** A limit in the text of /proc/PID/limits: "Max open files            1024                 4096                 files" */
export function limitIn(text: string, type: string): OciRlimit {
  const title = LINES[NUMBERS[type] ?? -1] ?? '';
  const line = text.split('\n').find((one) => title !== '' && one.startsWith(title));
  const [soft = 'unlimited', hard = 'unlimited'] = (line ?? '').slice(title.length).trim().split(/\s+/);
  const number = (word: string): number => (word === 'unlimited' ? Infinity : Number(word));
  return { type, soft: number(soft), hard: number(hard) };
}
