import { currentOf, isJob, slotNumbers, slotsOf } from '../model/slots.ts';
import { isPaused, isUpdating } from '../model/update.ts';
import type { Service, ServiceDependency, Task } from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import { willRestart } from '../model/restart.ts';

/** Whether a task may start, as far as what it depends on is concerned. */
export type DependencyVerdict =
  | { readonly kind: 'met' }
  /** `for`: "db to be healthy". */
  | { readonly kind: 'waiting'; readonly for: string }
  /** `reason` as compose users know it. */
  | { readonly kind: 'failed'; readonly reason: string };

/** Services of one project by compose name, each with its tasks. */
export type Siblings = ReadonlyMap<string, { readonly service: Service; readonly tasks: readonly Task[] }>;

const MET: DependencyVerdict = { kind: 'met' };

/**
 * Judges all dependencies of a service: the first failure, else the first wait, else met. A dependency that is being replaced is
 * waited for: what comes up together comes up in order, also when it changes.
 */
export function judgeDependencies(service: Service, siblings: Siblings): DependencyVerdict {
  let waiting: DependencyVerdict = MET;
  for (const dependency of service.spec.dependsOn) {
    const target = siblings.get(dependency.service);
    if (target === undefined || target.service.pendingDelete) {
      if (!dependency.required) continue;
      return { kind: 'failed', reason: `dependency failed to start: service "${dependency.service}" does not exist` };
    }
    // Whoever stopped it knows why.
    if (target.service.stopped && !dependency.required) continue;
    const verdict = judge(dependency, target.service, target.tasks);
    if (verdict.kind === 'failed' && dependency.required) return verdict;
    if (verdict.kind === 'waiting' && waiting.kind === 'met') waiting = verdict;
  }
  return waiting;
}

function judge(dependency: ServiceDependency, target: Service, tasks: readonly Task[]): DependencyVerdict {
  const slots = slotsOf(tasks);
  const wish = { started: 'started', healthy: 'healthy', completed: 'completed' }[dependency.condition];
  const wait: DependencyVerdict = { kind: 'waiting', for: `${dependency.service} to be ${wish}` };
  if (target.stopped) return wait;
  for (const number of slotNumbers(target, slots)) {
    const task = currentOf(slots.get(number) ?? [], target);
    if (task === undefined || willStart(task, target)) return wait;
    if (isOutdated(task, target)) return { kind: 'waiting', for: `${dependency.service} to be updated` };
    const verdict = judgeTask(dependency, task, wait);
    if (verdict.kind !== 'met') return verdict;
  }
  return MET;
}

/** It was stopped, or has ended, and is about to be started again because somebody asked for it. */
const willStart = (task: Task, target: Service): boolean =>
  isFinal(task) && (task.status.state === 'shutdown' || task.restartCount < target.restartCount);

/** Another one is coming in its place. */
const isOutdated = (task: Task, target: Service): boolean =>
  task.specVersion !== target.specVersion && (isUpdating(target) || isJob(target.spec));

/**
 * Whether a restart in place has to wait: dependencies that are restarted too come first, and those that the service follows
 * (`restart: true`) when they are replaced. One that nothing is to be expected of is not waited for.
 */
export function restartWaits(service: Service, siblings: Siblings): boolean {
  return service.spec.dependsOn.some(({ service: name, restart, condition }) => {
    const target = siblings.get(name);
    if (target === undefined || target.service.pendingDelete || target.service.stopped) return false;
    const { service: other, tasks } = target;
    if (restart && isPaused(other)) return true;
    const slots = slotsOf(tasks);
    return slotNumbers(other, slots).some((number) => {
      const task = currentOf(slots.get(number) ?? [], other);
      if (task === undefined) return restart && isUpdating(other);
      if (isFinal(task)) return willStart(task, other) || (restart && isUpdating(other));
      const { status, restartCount } = task;
      if (restartCount < other.restartCount || status.restartCount < restartCount) return true;
      if (restart && isUpdating(other) && (isOutdated(task, other) || status.state !== 'running')) return true;
      return condition === 'healthy' && status.state === 'running' && status.health === 'starting';
    });
  });
}

function judgeTask(dependency: ServiceDependency, task: Task, wait: DependencyVerdict): DependencyVerdict {
  const { status } = task;
  const over = isFinal(task) && !willRestart(task);
  const exit = status.exitCode === undefined ? status.error : `exit ${status.exitCode}`;
  switch (dependency.condition) {
    case 'started':
      if (status.state === 'running' || status.state === 'complete') return MET;
      if (over && status.exitCode !== undefined && status.state !== 'rejected') return MET;
      return over
        ? { kind: 'failed', reason: `dependency failed to start: container ${task.name}: ${status.error}` }
        : wait;
    case 'healthy':
      if (status.state === 'running' && status.health === 'healthy') return MET;
      if (status.state === 'running' && status.health === 'unhealthy' && task.spec.restart.condition === 'none') {
        return { kind: 'failed', reason: `dependency failed to start: container ${task.name} is unhealthy` };
      }
      if (status.state === 'running' && status.health === 'none') {
        return {
          kind: 'failed',
          reason: `dependency failed to start: container ${task.name} has no healthcheck configured`,
        };
      }
      if (!over) return wait;
      return { kind: 'failed', reason: `dependency failed to start: container ${task.name} ended (${exit})` };
    case 'completed':
      if (status.state === 'complete') return MET;
      if (!over) return wait;
      return { kind: 'failed', reason: `service "${dependency.service}" didn't complete successfully: ${exit}` };
  }
}
