import { isGlobal, isJob, currentOf, slotNumbers, slotsOf } from '../../../manager/model/slots.ts';
import { isChanging } from '../../../manager/model/live-change.ts';
import { willRestart } from '../../../manager/model/restart.ts';
import { isFinal, isServing, mayRun } from '../../../manager/model/task-state.ts';
import { isPaused, isUpdating, updateRules } from '../../../manager/model/update.ts';
import type { Service, Task, TaskState } from '../../../proto/types/index.ts';
import type { ProgressRow } from '../../render/progress.ts';
import { capital, troubleOf } from '../nodes/words.ts';
import { taskName } from './find.ts';

/** A task that has failed this often in a row is told to the user instead of being waited for. */
const MOST_FAILURES = 3;
/** Nothing gets further for so long: as long as an update waits for a task. */
export const PATIENCE_MS = 10 * 60_000;

/** How far a service is from being what its spec says. */
export interface Convergence {
  readonly rows: readonly ProgressRow[];
  /** Slots that are where they shall be, and how many there are. */
  readonly done: number;
  readonly wanted: number;
  /** All are, and nothing is on its way out. */
  readonly isThere: boolean;
  /** For how long that has to hold before it is believed, ms: an update that was watched is believed at once. */
  readonly watchMs: number;
  /** It will not get there by itself, or not soon. */
  readonly failure?: string;
  /** An update that was asked for was rolled back or has ended with failures. */
  readonly isRolledBack: boolean;
}

/** What the user has asked for. */
export interface Wish {
  /** `specVersion` of the service before; absent: it is new. */
  readonly versionBefore?: number;
  readonly updateBefore?: Service['updateStatus'];
  /** It was asked to go back to an earlier spec. */
  readonly rollback: boolean;
}

/** Judges a service. Pure: asked again at each change. */
export function judgeService(service: Service, tasks: readonly Task[], wish: Wish): Convergence {
  const slots = slotsOf(tasks);
  const numbers = service.stopped ? [] : slotNumbers(service, slots);
  const job = isJob(service.spec);
  const rows: ProgressRow[] = [];
  let done = 0;
  let failure: string | undefined;
  for (const number of numbers) {
    const task = currentOf(slots.get(number) ?? [], service);
    const judged = judgeSlot(service, task, number, job);
    rows.push(judged.row);
    if (judged.met) done++;
    failure ??= judged.failure;
  }
  const wanted = new Set(numbers);
  const excess = tasks.filter((task) => !task.oneOff && !wanted.has(task.slot) && mayRun(task));
  for (const task of excess) rows.push(row(taskName(task, service), 'Removing', 'working', ''));
  const update = judgeUpdate(service, wish);
  if (update?.row !== undefined) rows.unshift(update.row);
  const isOver = update?.isOver ?? true;
  return {
    rows,
    done,
    wanted: numbers.length,
    isThere: isOver && done === numbers.length && excess.length === 0,
    watchMs: job || service.stopped || update !== undefined ? 0 : updateRules(service).monitorMs,
    // What becomes of a task that failed is the update's to say while there is one.
    ...(update !== undefined ? (update.failure === undefined ? {} : { failure: update.failure }) : failed(failure)),
    isRolledBack: update?.isRolledBack ?? false,
  };
}

const failed = (failure: string | undefined): { readonly failure?: string } =>
  failure === undefined ? {} : { failure };

interface JudgedSlot {
  readonly row: ProgressRow;
  readonly met: boolean;
  readonly failure?: string;
}

function judgeSlot(service: Service, task: Task | undefined, slot: number, job: boolean): JudgedSlot {
  const name = task === undefined ? `${service.spec.name}.${isGlobal(service) ? '…' : slot}` : taskName(task, service);
  if (task === undefined) return { row: row(name, 'New', 'working', ''), met: false };
  if (task.specVersion !== service.specVersion) return { row: row(name, 'Waiting', 'waiting', ''), met: false };
  const { status } = task;
  if (job && status.state === 'complete') return { row: row(name, 'Complete', 'done', ''), met: true };
  if (isChanging(task)) return { row: row(name, 'Updating', 'working', ''), met: false };
  if (!job && isServing(task)) {
    const word = status.health === 'healthy' ? 'Running (healthy)' : 'Running';
    return { row: row(name, word, 'done', ''), met: true };
  }
  const reason = reasonOf(task);
  const again = willRestart(task);
  if (isFinal(task) && !again && status.state !== 'orphaned' && task.desiredState !== 'remove') {
    const why = reason === '' ? 'it has ended' : reason;
    return { row: row(name, capital(status.state), 'error', reason), met: false, failure: `${name}: ${why}` };
  }
  const failing = again && isFinal(task) && task.attempt + 1 >= MOST_FAILURES;
  return {
    row: row(name, isFinal(task) ? `${capital(status.state)}, restarting` : stepOf(status.state), 'working', reason),
    met: false,
    ...(failing ? { failure: `${name}: it has failed ${task.attempt + 1} times in a row: ${reason}` } : {}),
  };
}

/** States that pass in an instant are one. */
const stepOf = (state: TaskState): string =>
  ['assigned', 'accepted', 'preparing', 'ready'].includes(state) ? 'Preparing' : capital(state);

/** Why a task has failed, or what it waits for. */
function reasonOf(task: Task): string {
  const { status } = task;
  if (status.error !== '') {
    const { exitCode } = status;
    return status.error === 'task: non-zero exit' && exitCode !== undefined
      ? `it ended with exit code ${exitCode}`
      : status.error;
  }
  const trouble = troubleOf(task);
  if (trouble !== '') return trouble;
  if (status.state === 'running') return status.health === 'unhealthy' ? 'unhealthy' : 'health check: starting';
  return status.state === 'complete' ? 'it has ended' : '';
}

interface JudgedUpdate {
  readonly row?: ProgressRow;
  readonly isOver: boolean;
  readonly isRolledBack: boolean;
  readonly failure?: string;
}

/** The update that the user's change has begun, or goes on with; undefined: there is none. */
function judgeUpdate(service: Service, wish: Wish): JudgedUpdate | undefined {
  const status = service.updateStatus;
  if (status === undefined || wish.versionBefore === undefined) return undefined;
  const before = wish.updateBefore;
  const isOld = before?.startedAt === status.startedAt && before.specVersion === status.specVersion;
  if (isOld && !isUpdating(service)) return undefined;
  const label = `Service ${service.spec.name}`;
  const shown = (text: string, phase: ProgressRow['phase']): ProgressRow => ({
    key: 'update',
    label,
    status: text,
    phase,
    detail: isUpdating(service) ? status.message.replace(/^(update in progress|rolling back)[:;\s]*/, '') : '',
    quiet: phase === 'working',
  });
  if (isUpdating(service)) {
    const word = status.state === 'updating' ? 'Updating' : 'Rolling back';
    return { row: shown(word, 'working'), isOver: false, isRolledBack: false };
  }
  if (isPaused(service)) {
    return { row: shown('Paused', 'error'), isOver: true, isRolledBack: false, failure: status.message };
  }
  const isBack = status.state === 'rollback_completed';
  const isGood = status.failed.length === 0 && isBack === wish.rollback;
  return {
    row: shown(isBack ? 'Rolled back' : 'Updated', isGood ? 'done' : 'error'),
    isOver: true,
    isRolledBack: isBack && !wish.rollback,
    ...(isGood ? {} : { failure: status.message }),
  };
}

function row(name: string, status: string, phase: ProgressRow['phase'], detail: string): ProgressRow {
  return { key: `task ${name}`, label: `Task ${name}`, status, phase, detail, quiet: phase === 'waiting' };
}
