import type { Clock, Timer } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { TaskId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import type { Task, TaskStatus, TaskStatusUpdate } from '../../../proto/types/index.ts';
import type { Report } from '../session/client.ts';

/** Reports of one burst are made as one; what comes while a report is under way is the next one. */
const GATHER_MS = 1;
/**
 * A step on the way to running is told when it takes longer than this, or with the next report: each report is a write to the disks of
 * all managers, most containers run before anybody could have read of it, and what is told next waits for the answer.
 */
const STEP_MS = 300;
/** A report that was not heard is made again after this, though the session goes on: what waits for its answer would wait for ever. */
const RETRY_MS = 1_000;

export interface ReportsOptions {
  /** @throws when nobody has heard it */
  readonly send: (report: Report) => Promise<void>;
  /** A report is about to be made. */
  readonly onReport: () => void;
  /** The managers know now that the task has a container here. */
  readonly onHeard: (taskId: TaskId) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What the managers have not heard yet. */
export interface Reports {
  /** A task's status; sent when it has waited long enough for others. @param task as the node knows it */
  say(taskId: string, status: TaskStatus, task?: Task): void;
  /** All of these are told, whatever was told before: a session has begun. */
  sayAll(statuses: Iterable<readonly [string, TaskStatus]>): void;
  /** Whether the managers have heard from this process that the task has a container here, and its volumes with it. */
  hasHeard(taskId: string): boolean;
  /** Of a task that is not assigned any more nothing is said. */
  forget(taskId: string): void;
  volumeRemoved(name: string): void;
  networkRemoved(name: string): void;
  /** Sends what has gathered and is worth a report. */
  soonIfNeeded(): void;
  close(): void;
}

/** Gathers what a node has to say, and sends one report at a time until it is heard. */
export function createReports({ send, onReport, onHeard, clock, logger }: ReportsOptions): Reports {
  const pending = new Map<string, { readonly status: TaskStatus; readonly isLazy: boolean }>();
  const heard = new Set<string>();
  const removed = { volumes: new Set<string>(), networks: new Set<string>() };
  let timer: { readonly isLazy: boolean; readonly timer: Timer } | undefined;
  let flushing = false;
  let isClosed = false;

  /** Says what has gathered, one report at a time. */
  const flush = async (isRetry = false): Promise<void> => {
    timer = undefined;
    if (flushing || isClosed) return;
    flushing = true;
    if (!isRetry) onReport();
    try {
      const updates: TaskStatusUpdate[] = [...pending].map(([taskId, { status }]) => ({
        taskId: taskId as TaskId,
        status,
      }));
      const report = { updates, removedVolumes: [...removed.volumes], removedNetworks: [...removed.networks] };
      if (updates.length + report.removedVolumes.length + report.removedNetworks.length === 0) return;
      await send(report);
      for (const { taskId, status } of updates) {
        if (pending.get(taskId)?.status === status) pending.delete(taskId);
        if (status.containerId === '' || heard.has(taskId)) continue;
        heard.add(taskId);
        onHeard(taskId);
      }
      for (const name of report.removedVolumes) removed.volumes.delete(name);
      for (const name of report.removedNetworks) removed.networks.delete(name);
    } catch (error) {
      logger.debug('report kept for later', { reason: messageOf(error) });
      if (!isClosed) timer ??= { isLazy: true, timer: clock.startTimer(RETRY_MS, () => void flush(true)) };
      return;
    } finally {
      flushing = false;
    }
    soonIfNeeded();
  };
  const soon = (): void => {
    if (timer?.isLazy === true) stop();
    timer ??= { isLazy: false, timer: clock.startTimer(GATHER_MS, () => void flush()) };
  };
  const soonUnlessRunning = (): void => {
    timer ??= { isLazy: true, timer: clock.startTimer(STEP_MS, () => void flush()) };
  };
  const soonIfNeeded = (): void => {
    if (removed.volumes.size + removed.networks.size > 0 || [...pending.values()].some(({ isLazy }) => !isLazy)) soon();
    else if (pending.size > 0) soonUnlessRunning();
  };
  const stop = (): void => {
    timer?.timer.cancel();
    timer = undefined;
  };

  return {
    say(taskId, status, task) {
      const isLazy = isOnTheWay(status, task);
      pending.set(taskId, { status, isLazy });
      if (isLazy) soonUnlessRunning();
      else soon();
    },
    sayAll(statuses) {
      for (const [taskId, status] of statuses) pending.set(taskId, { status, isLazy: false });
      soon();
    },
    hasHeard: (taskId) => heard.has(taskId),
    forget(taskId) {
      pending.delete(taskId);
      heard.delete(taskId);
    },
    volumeRemoved: (name) => void removed.volumes.add(name),
    networkRemoved: (name) => void removed.networks.add(name),
    soonIfNeeded,
    close() {
      isClosed = true;
      stop();
    },
  };
}

/**
 * Nothing has gone wrong, and nothing waits for it. For a task to be prepared somebody waits who has not let it run yet; and where its data
 * is going to be is to be known before any is written.
 */
function isOnTheWay({ state, error }: TaskStatus, task: Task | undefined): boolean {
  if (error !== '') return false;
  if (state === 'ready') return task?.desiredState === 'running' && !hasData(task);
  return state === 'accepted' || state === 'preparing' || state === 'starting';
}

const hasData = ({ spec }: Task): boolean =>
  spec.container.mounts.some((mount) => mount.type === 'volume' || (mount.type === 'bind' && mount.createHostPath));
