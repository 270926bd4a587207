import { isFinal } from '../../../manager/model/task-state.ts';
import type { Network, Task, Volume } from '../../../proto/types/index.ts';
import type { ProgressRow } from '../../render/progress.ts';
import type { ProjectView } from '../project/view.ts';

/** What is being taken down, as seen before it began. */
export interface DownPlan {
  readonly tasks: readonly Task[];
  readonly networks: readonly Network[];
  readonly volumes: readonly Volume[];
  /** Containers are only stopped, nothing is removed. */
  readonly keeps: boolean;
}

export interface DownProgress {
  readonly rows: readonly ProgressRow[];
  readonly finished: boolean;
  /** Nothing is left to wait for but volumes that something still uses. */
  readonly onlyVolumesLeft: boolean;
}

/** What there is to show of a project that is being taken down. Pure: asked again at each change. */
export function judgeDown(view: ProjectView, plan: DownPlan): DownProgress {
  const rows: ProgressRow[] = [];
  let tasksLeft = 0;
  let networksLeft = 0;
  let volumesLeft = 0;
  for (const before of plan.tasks) {
    const task = view.tasks.get(before.id);
    const stopped = task === undefined || isFinal(task) || task.status.state === 'remove' || task.nodeId === '';
    const removed = task === undefined || task.status.state === 'remove';
    const done = plan.keeps ? stopped : removed;
    if (!done) tasksLeft++;
    rows.push({
      key: `container ${before.id}`,
      label: `Container ${before.name}`,
      status: done ? (plan.keeps ? 'Stopped' : 'Removed') : stopped ? 'Removing' : 'Stopping',
      phase: done ? 'done' : 'working',
    });
  }
  for (const { id, spec } of plan.networks) {
    const left = view.networks.has(id);
    if (left) networksLeft++;
    rows.push({
      key: `network ${id}`,
      label: `Network ${spec.name}`,
      status: left ? 'Removing' : 'Removed',
      phase: left ? 'working' : 'done',
    });
  }
  for (const { id, spec } of plan.volumes) {
    const left = view.volumes.has(id);
    if (left) volumesLeft++;
    rows.push({
      key: `volume ${id}`,
      label: `Volume "${spec.name}"`,
      status: left ? 'Removing' : 'Removed',
      phase: left ? 'working' : 'done',
    });
  }
  const others = tasksLeft + networksLeft;
  return { rows, finished: others + volumesLeft === 0, onlyVolumesLeft: others === 0 && volumesLeft > 0 };
}

/** The tasks of some services that have a container to take down: the newest of each name. */
export function tasksToTakeDown(
  view: ProjectView,
  services: ReadonlySet<string> | undefined,
  keeps: boolean,
): readonly Task[] {
  const byName = new Map<string, Task>();
  for (const task of view.tasks.values()) {
    const service = view.services.get(task.serviceId);
    if (services !== undefined && !services.has(service?.spec.composeName ?? '')) continue;
    if (task.status.state === 'remove' || (keeps && (isFinal(task) || task.oneOff))) continue;
    byName.set(task.name, task);
  }
  return [...byName.values()];
}
