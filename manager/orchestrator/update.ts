import type { Service, Task, UpdatedSlot, UpdateStatus } from '../../proto/types/index.ts';
import { currentOf } from '../model/slots.ts';
import type { Slot } from '../model/slots.ts';
import { willRestart } from '../model/restart.ts';
import { isChanging } from '../model/live-change.ts';
import { isFinal, isLive, isServing, mayRun } from '../model/task-state.ts';
import { beginRollback, isUpdating, updateRules } from '../model/update.ts';
import type { LeaderTime, PlanBuilder } from './plan.ts';
import type { SlotTarget } from './targets.ts';

/** A new task that does not serve after this long has failed its update, whatever it waits for (swarmkit waits for ever). */
export const PROGRESS_DEADLINE_MS = 10 * 60_000;

type Slots = ReadonlyMap<number, Slot>;

/** What an update has come to. */
interface Judgement {
  readonly entries: readonly UpdatedSlot[];
  readonly failed: readonly number[];
  readonly reason: string;
  /** Slots that are updated and watched, or failed for good. */
  readonly settled: number;
  /** What it waits for, where that is not plain work: "container "x": no suitable node …". */
  readonly waitsFor: string;
}

/**
 * Takes an update or rollback that is under way further: notes which slots serve and which have failed, ends it, pauses it or
 * rolls it back.
 * @param targets numbers of the slots that the service shall have
 * @returns true: the service's spec has changed, and what is to be done with its tasks is seen at the next look
 */
export function advanceUpdate(
  service: Service,
  tasks: readonly Task[],
  slots: Slots,
  targets: readonly number[],
  plan: PlanBuilder,
  time: LeaderTime,
): { readonly service: Service; readonly again: boolean } {
  const status = service.updateStatus;
  if (status === undefined || !isUpdating(service)) return { service, again: false };
  const { now } = time;
  const judged = judgeUpdate(service, status, slots, targets, time);
  const { failed, reason, entries } = judged;
  const { maxFailureRatio, failureAction } = updateRules(service);
  const progress = { ...status, failed, slots: entries, reason: status.reason || reason };
  const isRollback = status.state === 'rollback_started';
  const isMove = status.kind === 'rebalance';
  const change = (next: UpdateStatus): { readonly service: Service; readonly again: boolean } => {
    const changed = { ...service, updateStatus: next };
    plan.updateService(changed);
    return { service: changed, again: false };
  };

  const exceeded = failed.length > 0 && failed.length / Math.max(1, status.total) > maxFailureRatio;
  if (exceeded && failureAction !== 'continue') {
    // What only moves has nothing to go back to.
    const goesBack = !isRollback && failureAction === 'rollback' && !isMove;
    if (goesBack) {
      const begun = beginRollback(service, tasks, reason, now);
      if (begun !== undefined) {
        plan.updateService(begun.service);
        for (const task of begun.adopted) plan.update(task, { specVersion: task.specVersion });
        return { service: begun.service, again: true };
      }
    }
    const lost = goesBack ? '; there is no earlier version to go back to' : '';
    const message = isRollback
      ? `rollback paused: ${reason}`
      : `${isMove ? 'rebalancing' : 'update'} paused: ${reason}${lost}`;
    return change({
      ...progress,
      reason: isRollback ? `${status.reason}; then ${reason}` : reason,
      state: isRollback ? 'rollback_paused' : 'paused',
      message,
    });
  }
  const stillStops = targets.some(
    (number) =>
      !failed.includes(number) &&
      (slots.get(number) ?? []).some((task) => task.specVersion !== service.specVersion && mayRun(task)),
  );
  if (judged.settled >= targets.length && !stillStops) {
    const tail = failed.length === 0 ? '' : `; ${failed.length} of ${status.total} failed: ${progress.reason}`;
    return change({
      ...progress,
      slots: [],
      state: isRollback ? 'rollback_completed' : 'completed',
      completedAt: now,
      message: isRollback
        ? `rolled back: ${status.reason}${tail}`
        : `${isMove ? 'rebalanced' : 'update completed'}${tail}`,
    });
  }
  const done = judged.settled === 0 ? '' : ` (${judged.settled} of ${targets.length})`;
  const waits = judged.waitsFor === '' ? '' : `; waiting for ${judged.waitsFor}`;
  const begun = isRollback
    ? `rolling back: ${status.reason}`
    : isMove
      ? `moving ${status.total} of ${targets.length} containers`
      : 'update in progress';
  const next = { ...progress, message: `${begun}${done}${waits}` };
  return sameProgress(status, next) ? { service, again: false } : change(next);
}

/**
 * When an update that is under way has something to do although nothing changes: a task has been watched for long enough, a
 * delay or the progress deadline is over.
 * @param time when the orchestrator looked last: what was due then has been done
 */
export function updateDueAt(
  service: Service,
  slots: Slots,
  targets: readonly number[],
  time: LeaderTime,
): number | undefined {
  const status = service.updateStatus;
  if (status === undefined || !isUpdating(service)) return undefined;
  const { monitorMs, delayMs } = updateRules(service);
  const times: number[] = [];
  for (const entry of status.slots) {
    if (!entry.passed) times.push(entry.since + monitorMs);
    times.push(entry.since + delayMs);
  }
  for (const number of targets) {
    const current = currentOf(slots.get(number) ?? [], service);
    if (current?.specVersion === service.specVersion && !isFinal(current))
      times.push(deadlineOf(current, status, time));
  }
  const ahead = times.filter((at) => at > time.now);
  return ahead.length === 0 ? undefined : Math.min(...ahead);
}

function judgeUpdate(
  service: Service,
  status: UpdateStatus,
  slots: Slots,
  targets: readonly number[],
  time: LeaderTime,
): Judgement {
  const { now } = time;
  const { monitorMs } = updateRules(service);
  // What another leader noted can be later than now: nothing is to wait until its clock would say so.
  const known = new Map(
    status.slots.map((entry) => [entry.slot, entry.since > now ? { ...entry, since: now } : entry]),
  );
  const failed = new Set(status.failed.filter((number) => targets.includes(number)));
  const entries: UpdatedSlot[] = [];
  let reason = '';
  let settled = 0;
  let waitsFor = '';
  for (const number of targets) {
    const fresh = (slots.get(number) ?? []).filter(
      (task) => task.specVersion === service.specVersion && task.desiredState !== 'remove',
    );
    const current = fresh.at(-1);
    const entry = known.get(number);
    if (failed.has(number) || entry?.passed === true) {
      if (entry !== undefined) entries.push(entry);
      settled++;
      continue;
    }
    if (current === undefined) continue;
    const failure = failureOf(fresh, current, status, time);
    if (failure !== '') {
      failed.add(number);
      reason ||= failure;
      settled++;
    } else if (current.status.state === 'complete') {
      settled++;
    } else if (isServing(current) && !isChanging(current)) {
      const since = entry?.taskId === current.id ? entry.since : now;
      const passed = now >= since + monitorMs;
      entries.push({ slot: number, taskId: current.id, since, passed });
      if (passed) settled++;
    } else if (waitsFor === '' && lacksAddress(current)) {
      waitsFor = `container "${current.name}": ${current.status.message}`;
    } else if (waitsFor === '' && (current.held || current.status.state === 'pending')) {
      const what = current.status.message.replace(/^waiting for /, '');
      if (current.held || what.startsWith('no suitable node')) waitsFor = `container "${current.name}": ${what}`;
    }
  }
  return { entries, failed: [...failed], reason, settled, waitsFor };
}

/** Why a slot's new tasks have failed; empty: they have not. The loss or drain of a node is nobody's failure. */
function failureOf(fresh: readonly Task[], current: Task, status: UpdateStatus, time: LeaderTime): string {
  for (const task of fresh) {
    const { state, exitCode, error } = task.status;
    const ended = state === 'failed' || state === 'rejected' || (state === 'complete' && willRestart(task));
    if (!ended && !(state === 'complete' && task !== current)) continue;
    const why = exitCode === undefined || state === 'rejected' ? error : `it ended with exit code ${exitCode}`;
    const detail = exitCode !== undefined && error !== '' && error !== 'task: non-zero exit' ? ` (${error})` : '';
    return `container "${task.name}": ${why || 'it ended'}${detail === ` (${why})` ? '' : detail}`;
  }
  const { state, health, message } = current.status;
  if ((isServing(current) && !isChanging(current)) || isFinal(current)) return '';
  if (state === 'running' && health === 'unhealthy') {
    return `container "${current.name}": it is unhealthy${message === '' ? '' : ` (${message})`}`;
  }
  if (time.now < deadlineOf(current, status, time)) return '';
  const where = isChanging(current)
    ? lacksAddress(current)
      ? message
      : 'its node has not changed it'
    : health === 'starting' && state === 'running'
      ? 'its health check has not passed'
      : message || state;
  return `container "${current.name}": not ready after ${PROGRESS_DEADLINE_MS / 60_000} minutes: ${where}`;
}

/** It shall be on a network that has no address for it; its message says why. */
const lacksAddress = (task: Task): boolean =>
  isChanging(task) && task.spec.networkMode === 'networks' && task.addresses.length < task.spec.networks.length;

/** No leader gives up before it has seen for the whole time itself that nothing goes on: a new one whose clock is ahead would at once. */
const deadlineOf = (task: Task, { startedAt }: UpdateStatus, { ledSince }: LeaderTime): number =>
  Math.max(task.meta.createdAt, startedAt, ledSince) + PROGRESS_DEADLINE_MS;

function sameProgress(before: UpdateStatus, after: UpdateStatus): boolean {
  return (
    before.message === after.message &&
    before.failed.length === after.failed.length &&
    before.slots.length === after.slots.length &&
    before.slots.every((entry, index) => {
      const other = after.slots[index];
      return (
        other?.slot === entry.slot &&
        other.taskId === entry.taskId &&
        other.passed === entry.passed &&
        other.since === entry.since
      );
    })
  );
}

/**
 * How many more slots may begin their replacement now. A slot takes one of the places of `parallelism` until its new task serves,
 * its old one is gone and the delay is over; one that has failed takes none, unless its new task still runs beside the old one.
 * @param targets slots that the service shall have. Nothing goes on in a lost one before its node is back: it is not waited for
 */
export function updatesAllowed(service: Service, slots: Slots, targets: readonly SlotTarget[], now: number): number {
  const status = service.updateStatus?.specVersion === service.specVersion ? service.updateStatus : undefined;
  if (status?.state === 'paused' || status?.state === 'rollback_paused') return 0;
  const { parallelism, delayMs } = updateRules(service);
  if (parallelism === 0) return Infinity;
  const failed = new Set(status?.failed);
  const entries = new Map(status?.slots.map((entry) => [entry.slot, entry]));
  const lost = new Set(targets.filter((target) => target.lost).map(({ slot }) => slot));
  const open = new Set(targets.filter((target) => target.open).map(({ slot }) => slot));
  let busy = 0;
  for (const [number, slot] of slots) {
    if (lost.has(number)) continue;
    const current = currentOf(slot, service);
    // What is being stopped still takes the room of a container.
    const overlaps = slot.filter(mayRun).length > 1;
    const isFresh = current?.specVersion === service.specVersion;
    const others = slot.filter((task) => task !== current && mayRun(task));
    // Beside an old task that goes on serving, a new one that has failed is not tried again.
    const isLeft = failed.has(number) && current !== undefined && isFinal(current) && others.some(isLive);
    const replaces = isFresh && others.length > 0 && !isLeft;
    // One that was lost with its node, or left it, is about to be followed by another.
    const willStart = isFresh && isFinal(current) && (willRestart(current) || current.status.state === 'shutdown');
    const isBusy = isFresh && (isLive(current) ? !isServing(current) || isChanging(current) : willStart);
    // What a resumed update tries again: its tasks were told to go, and at this very look another one is made.
    const isTriedAgain =
      current === undefined && open.has(number) && slot.some((task) => task.specVersion === service.specVersion);
    const starts = (isBusy || isTriedAgain) && !failed.has(number);
    const since = entries.get(number)?.since;
    const rests = isFresh && since !== undefined && now < since + delayMs;
    if (overlaps || replaces || starts || rests) busy++;
  }
  return Math.max(0, parallelism - busy);
}

/**
 * Tasks of an update that was given up, in a slot that nothing of the present spec is in yet: the one that serves goes on until it is
 * replaced, those beside it end now, so that a new update never makes a third one run. So does one that was not let start yet:
 * nobody lets it start any more, and the slot, with nothing in it, would wait for its turn, in a paused update for ever.
 */
export function givenUp(slot: Slot, service: Service): readonly Task[] {
  if (currentOf(slot, service)?.specVersion === service.specVersion) return [];
  const live = slot.filter(isLive);
  const kept = live.findLast(isServing) ?? live.find((task) => !isWaiting(task));
  return live.filter((task) => task !== kept);
}

/** It waits for the task before it or for a dependency, and runs only when the orchestrator says so. */
const isWaiting = ({ desiredState, held }: Task): boolean => desiredState === 'ready' || held;
