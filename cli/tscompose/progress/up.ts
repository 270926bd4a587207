import { containerName } from '../../../manager/model/names.ts';
import { isFinal, reached } from '../../../manager/model/task-state.ts';
import { isGlobal, slotNumbers, slotsOf } from '../../../manager/model/slots.ts';
import { isChanging } from '../../../manager/model/live-change.ts';
import { willRestart } from '../../../manager/model/restart.ts';
import type { ProjectChange, Service, Task, UpdateStatus } from '../../../proto/types/index.ts';
import type { ProgressPhase, ProgressRow } from '../../render/progress.ts';
import { isTelling } from '../containers/describe.ts';
import type { ProjectView } from '../project/view.ts';
import { judgeUpdate } from './update.ts';

/**
 * How far a container has to be: prepared, or waiting for a dependency ("created": the logs follow from there), started,
 * or healthy too.
 */
export type UpGoal = 'created' | 'started' | 'healthy';

/** What is being brought up, as seen before it began. */
export interface UpPlan {
  /** Compose names, in the order in which they are shown. */
  readonly services: readonly string[];
  readonly goal: UpGoal;
  /** As ApplyProject said; none for `start` and `restart`. */
  readonly changes: readonly ProjectChange[];
  /** Tasks that were there before, by id. */
  readonly before: ReadonlyMap<string, Task>;
  /** The newest update of each service as it was before, by service id. */
  readonly updatesBefore?: ReadonlyMap<string, UpdateStatus>;
  /** Services go back to an earlier version, as asked for. */
  readonly rollback?: boolean;
  /** The view shows what was asked for: until then it tells of the time before. */
  readonly caughtUp: (view: ProjectView) => boolean;
  /** The service was there as asked for, and is not any more: another command has taken it down. Absent: nobody looks. */
  readonly isTakenDown?: (name: string, view: ProjectView) => boolean;
}

/** A container that could not be brought up. */
export interface UpFailure {
  readonly service: string;
  readonly container: string;
  readonly reason: string;
}

export interface UpProgress {
  readonly rows: readonly ProgressRow[];
  /** Everything is where it shall be. */
  readonly finished: boolean;
  readonly failures: readonly UpFailure[];
}

/** What there is to show of a project that is being brought up, and whether it is. Pure: asked again at each change. */
export function judgeUp(view: ProjectView, plan: UpPlan): UpProgress {
  const rows: ProgressRow[] = [];
  const failures: UpFailure[] = [];
  let finished = plan.caughtUp(view);
  const add = (row: ProgressRow, met: boolean): void => {
    rows.push(row);
    finished &&= met;
  };
  for (const { kind, name, action } of plan.changes) {
    if ((kind !== 'network' && kind !== 'volume') || action !== 'create') continue;
    const object = [...view[`${kind}s`].values()].find(({ spec }) => spec.name === name);
    const made = kind === 'network' ? object !== undefined && 'subnet' in object && object.subnet !== '' : !!object;
    add(simpleRow(kind === 'network' ? 'Network' : 'Volume', name, made, ['Creating', 'Created']), made);
  }
  for (const task of leaving(view, plan)) {
    const gone = isGone(view.tasks.get(task.id));
    add(simpleRow('Container', task.name, gone, ['Removing', 'Removed']), gone);
  }
  for (const name of plan.services) {
    const service = view.service(name);
    const isTakenDown = plan.isTakenDown?.(name, view) === true;
    if (service === undefined) {
      finished = false;
      if (isTakenDown) {
        const reason = `waiting for service "${name}": another command has taken it down`;
        failures.push({ service: name, container: name, reason });
      }
      continue;
    }
    const awaitsHealth = plan.goal === 'healthy' || isAwaitedHealthy(view, plan, name);
    const current = view.currentTasks(service);
    const own: UpFailure[] = [];
    let isMet = true;
    const tasks = view.tasksOf(service);
    // Looked at once: of a thousand containers each would ask all others.
    const replaced = new Set(
      [...plan.before.values(), ...tasks]
        .filter(({ specVersion }) => specVersion !== service.specVersion)
        .map(({ name: of }) => of),
    );
    for (const slot of slotNumbers(service, slotsOf(tasks))) {
      const judged = judgeSlot(plan, service, current.get(slot), slot, { awaitsHealth, replaced });
      add(judged.row, judged.met);
      isMet &&= judged.met;
      if (judged.failure !== undefined) own.push(judged.failure);
    }
    for (const task of tasks) {
      if (task.status.state !== 'rejected' || task.oneOff || plan.before.has(task.id)) continue;
      if (task.specVersion !== service.specVersion || current.get(task.slot) === task) continue;
      own.push({ service: name, container: task.name, reason: task.status.error });
    }
    const update = judgeUpdate(service, plan);
    if (update?.row !== undefined) rows.push(update.row);
    // Who attaches sees the rest in the logs.
    const isEnough = isMet && (plan.goal === 'created' || update?.watched === false);
    if (update?.over === false && !isEnough) {
      // What becomes of a container that failed is the update's to say: it may be rolled back.
      finished = false;
      continue;
    }
    if (update?.failure !== undefined && !(plan.goal === 'created' && isMet)) own.push(update.failure);
    failures.push(...own);
  }
  return { rows, finished: finished && failures.length === 0, failures };
}

interface JudgedSlot {
  readonly row: ProgressRow;
  readonly met: boolean;
  readonly failure?: UpFailure;
}

/** @param about the service: whether health is waited for, and the names of containers of another version of it, there or that were */
function judgeSlot(
  plan: UpPlan,
  service: Service,
  task: Task | undefined,
  slot: number,
  { awaitsHealth, replaced }: { readonly awaitsHealth: boolean; readonly replaced: ReadonlySet<string> },
): JudgedSlot {
  const name = task?.name ?? containerName(service, slot);
  const row = (status: string, phase: ProgressPhase, detail = ''): ProgressRow => ({
    key: `container ${name}`,
    label: `Container ${name}`,
    status,
    phase,
    detail,
    // A reason that changes while it waits is drawn, but not told line by line.
    quiet: phase === 'waiting' || phase === 'working',
  });
  const failed = (status: string, reason: string): JudgedSlot => ({
    row: row(status, 'error'),
    met: false,
    failure: { service: service.spec.composeName, container: name, reason },
  });
  const going = (status: string, detail = '', met = false): JudgedSlot => ({
    row: row(status, 'working', detail),
    met,
  });
  if (service.stopped) return { row: row(task === undefined ? 'Not started' : 'Stopped', 'done'), met: true };
  const isReplaced = replaced.has(name);
  if (task === undefined) return going('Creating');
  if (task.specVersion !== service.specVersion) {
    const change = plan.changes.find(({ kind, name: one }) => kind === 'service' && one === service.spec.composeName);
    return going(change?.action === 'update' ? 'Update' : 'Recreate');
  }
  const { status } = task;
  const attached = plan.goal === 'created';
  if (isFinal(task)) {
    if (status.state === 'rejected') return failed('Error', status.error);
    const code = status.exitCode ?? 0;
    const asked = service.restartCount > task.restartCount || status.state === 'shutdown';
    if (asked || status.state === 'orphaned') return going('Starting');
    if (status.message.startsWith('post_start hook') && !plan.before.has(task.id))
      return failed('Error', status.message);
    if (plan.goal === 'healthy' && !willRestart(task) && code !== 0) {
      return failed(`Exited (${code})`, endReason(task));
    }
    if (plan.goal === 'healthy' && willRestart(task)) return going('Restarting', endReason(task));
    return {
      row: row(`Exited (${code})`, code === 0 ? 'done' : 'warning', code === 0 ? '' : endReason(task)),
      met: true,
    };
  }
  if (task.held) {
    const detail = status.message.replace(/^waiting /, '');
    return { row: row('Waiting', 'waiting', detail), met: attached };
  }
  if (status.state === 'running') {
    if (isChanging(task)) return going('Updating');
    if (status.restartCount < service.restartCount) return going('Restarting');
    const wasThere = plan.before.get(task.id)?.status;
    const unchanged = wasThere?.state === 'running' && wasThere.restartCount === status.restartCount;
    if (awaitsHealth && status.health !== 'none') {
      if (status.health === 'healthy') return { row: row('Healthy', 'done'), met: true };
      if (status.health === 'unhealthy' && plan.goal === 'healthy') return failed('Unhealthy', status.message);
      return going('Waiting', status.health === 'unhealthy' ? status.message : '', attached);
    }
    // One that waited for a node, or for something else, has not run before.
    const hasRun = wasThere !== undefined && reached(wasThere.state, 'running');
    const before = plan.before.get(task.id)?.specVersion ?? task.specVersion;
    const isUpdated = before !== task.specVersion && status.applied?.how === 'live';
    const word = unchanged ? (isUpdated ? 'Updated' : 'Running') : hasRun ? 'Restarted' : 'Started';
    return { row: row(word, 'done'), met: true };
  }
  if (reached(status.state, 'ready')) {
    const word = isReplaced ? 'Recreated' : 'Created';
    return attached ? { row: row(word, 'done'), met: true } : going(status.state === 'starting' ? 'Starting' : word);
  }
  const detail = isTelling(status.message) ? status.message : '';
  if (status.state === 'pending' && detail !== '') return going('Pending', detail);
  if (task.predecessor !== '') return going('Starting', detail);
  return going(isReplaced ? 'Recreating' : 'Creating', detail);
}

/** One of the services being brought up starts only when this one is healthy. */
function isAwaitedHealthy(view: ProjectView, plan: UpPlan, name: string): boolean {
  return plan.services.some((other) =>
    view
      .service(other)
      ?.spec.dependsOn.some(
        ({ service, condition, required }) => service === name && condition === 'healthy' && required,
      ),
  );
}

/** Tasks that were there and have no place any more: of orphans that are removed, and of slots beyond the replicas. */
function leaving(view: ProjectView, plan: UpPlan): readonly Task[] {
  const removed = new Set(
    plan.changes.filter(({ kind, action }) => kind === 'service' && action === 'remove').map(({ name }) => name),
  );
  const gone: Task[] = [];
  for (const task of plan.before.values()) {
    if (task.oneOff || task.status.state === 'remove') continue;
    const service = view.services.get(task.serviceId);
    const name = task.spec.container.labels['com.docker.compose.service'] ?? '';
    const orphan = removed.has(name);
    const excess =
      service !== undefined && !isGlobal(service) && plan.services.includes(name) && task.slot > service.spec.replicas;
    if (orphan || excess) gone.push(task);
  }
  return gone;
}

const isGone = (task: Task | undefined): boolean => task === undefined || task.status.state === 'remove';

/** Why a container ended, for a line that says already that it did. */
function endReason({ status }: Task): string {
  return status.error === 'task: non-zero exit' ? '' : status.error;
}

function simpleRow(
  kind: 'Network' | 'Volume' | 'Container',
  name: string,
  done: boolean,
  words: readonly [doing: string, done: string],
): ProgressRow {
  return {
    key: `${kind} ${name}`,
    label: kind === 'Volume' ? `${kind} "${name}"` : `${kind} ${name}`,
    status: words[done ? 1 : 0],
    phase: done ? 'done' : 'working',
  };
}
