import type { TaskId } from '../../base/ids.ts';
import type { Service, Task } from '../../proto/types/index.ts';
import { currentOf, slotsOf } from '../model/slots.ts';
import type { Slot } from '../model/slots.ts';
import { isFinal, isLive, isServing, mayRun, reached } from '../model/task-state.ts';
import { collectGarbage } from './collect.ts';
import { judgeDependencies } from './dependencies.ts';
import type { DependencyVerdict } from './dependencies.ts';
import { freshStatus, newTask } from './new-task.ts';
import { PlanBuilder } from './plan.ts';
import type { ClusterView, Plan } from './plan.ts';
import { DEPENDENCY_FAILED, nextAttempt, restartDelayMs, willRestart } from '../model/restart.ts';

/** A service with its tasks. */
interface Member {
  readonly service: Service;
  readonly tasks: readonly Task[];
}
type Siblings = ReadonlyMap<string, Member>;

/**
 * What has to change so that tasks are what the services say: slots filled, outdated tasks replaced, ended ones followed
 * by new ones, stopped and deleted services taken down in the reverse order of their dependencies.
 * @param now wall time, ms
 * @param newTaskId called once for every task that is made
 */
export function reconcile(view: ClusterView, now: number, newTaskId: () => TaskId): Plan {
  const plan = new PlanBuilder();
  for (const siblings of projectsOf(view).values()) {
    for (const member of siblings.values()) {
      if (member.service.pendingDelete || member.service.stopped) takeDown(member, siblings, plan);
      else fillSlots(member, judgeDependencies(member.service, siblings), plan, now, newTaskId);
    }
  }
  for (const task of view.tasks) if (task.oneOff) settleOneOff(task, plan);
  collectGarbage(view, plan);
  return plan.build();
}

function projectsOf(view: ClusterView): Map<string, Map<string, Member>> {
  const tasks = Map.groupBy(view.tasks, (task) => task.serviceId);
  const projects = new Map<string, Map<string, Member>>();
  for (const service of view.services) {
    const siblings = projects.get(service.projectId) ?? new Map<string, Member>();
    siblings.set(service.spec.composeName, { service, tasks: tasks.get(service.id) ?? [] });
    projects.set(service.projectId, siblings);
  }
  return projects;
}

/** Dependents that are going down too go first. */
function takeDown({ service, tasks }: Member, siblings: Siblings, plan: PlanBuilder): void {
  const wanted = service.pendingDelete ? 'remove' : 'shutdown';
  const waitsFor = [...siblings.values()].some(
    (other) =>
      (other.service.pendingDelete || other.service.stopped) &&
      other.service.spec.dependsOn.some((dependency) => dependency.service === service.spec.composeName) &&
      other.tasks.some(mayRun),
  );
  for (const task of tasks) {
    if (task.desiredState === wanted || task.desiredState === 'remove') continue;
    if (task.oneOff && !service.pendingDelete) continue;
    if (wanted === 'shutdown' && isFinal(task)) continue;
    if (waitsFor && mayRun(task)) continue;
    plan.update(task, { desiredState: wanted });
  }
}

function fillSlots(
  { service, tasks }: Member,
  verdict: DependencyVerdict,
  plan: PlanBuilder,
  now: number,
  newTaskId: () => TaskId,
): void {
  const slots = slotsOf(tasks);
  for (const [number, slot] of slots) {
    if (number <= service.spec.replicas) continue;
    for (const task of slot) if (task.desiredState !== 'remove') plan.update(task, { desiredState: 'remove' });
  }
  const heldFor = verdict.kind === 'met' ? undefined : verdict.kind === 'waiting' ? verdict.for : 'a dependency';
  const budget = { left: updatesAllowed(service, slots) };
  for (let number = 1; number <= service.spec.replicas; number++) {
    const slot = slots.get(number) ?? [];
    const current = currentOf(slot, service);
    const make = (seed: Partial<Parameters<typeof newTask>[1]>): void =>
      plan.create(
        newTask(service, {
          id: newTaskId(),
          slot: number,
          now,
          desiredState: 'running',
          ...(heldFor === undefined || seed.predecessor !== undefined ? {} : { heldFor }),
          ...seed,
        }),
      );
    if (current === undefined) make({});
    else if (current.specVersion !== service.specVersion) replaceOutdated(current, service, budget, make);
    else keep(current, slot, service, verdict, plan, now, make);
  }
}

/** How many more slots may begin their replacement now. */
function updatesAllowed(service: Service, slots: ReadonlyMap<number, Slot>): number {
  const { parallelism } = service.spec.update;
  if (parallelism === 0) return Infinity;
  let busy = 0;
  for (const slot of slots.values()) {
    const current = currentOf(slot, service);
    const replaces = slot.some(
      (task) => task.specVersion !== service.specVersion && task.desiredState !== 'remove' && isLive(task),
    );
    if (current?.specVersion === service.specVersion && isLive(current) && (replaces || !isServing(current))) busy++;
  }
  return Math.max(0, parallelism - busy);
}

/** An outdated slot gets a new task; one that runs keeps running until the new one is prepared (or serves: start-first). */
function replaceOutdated(
  current: Task,
  service: Service,
  budget: { left: number },
  make: (seed: Partial<Parameters<typeof newTask>[1]>) => void,
): void {
  if (budget.left <= 0) return;
  budget.left--;
  const startFirst = service.spec.update.order === 'start-first' || !isLive(current);
  make({ desiredState: startFirst ? 'running' : 'ready' });
}

/** A slot whose newest task is of the present spec. */
function keep(
  current: Task,
  slot: Slot,
  service: Service,
  verdict: DependencyVerdict,
  plan: PlanBuilder,
  now: number,
  make: (seed: Partial<Parameters<typeof newTask>[1]>) => void,
): void {
  const older = slot.filter((task) => task.specVersion !== service.specVersion);
  if (isFinal(current)) {
    const asked = service.restartCount > current.restartCount || current.status.state === 'shutdown';
    if (asked) make({ predecessor: current });
    else if (willRestart(current)) {
      make({ predecessor: current, attempt: nextAttempt(current), notBefore: now + restartDelayMs(current) });
    }
    return;
  }
  if (current.held) release(current, verdict, plan, now);
  if (current.restartCount < service.restartCount) plan.update(current, { restartCount: service.restartCount });
  const stillUp = older.filter(mayRun);
  const ready =
    service.spec.update.order === 'start-first'
      ? isServing(current)
      : !current.held && reached(current.status.state, 'ready');
  for (const task of older) {
    if (task.desiredState !== 'remove' && (ready || isFinal(task) || !mayRun(task)))
      plan.update(task, { desiredState: 'remove' });
  }
  if (current.desiredState === 'ready' && ready && stillUp.length === 0)
    plan.update(current, { desiredState: 'running' });
  if (current.desiredState === 'ready' && older.length === 0) plan.update(current, { desiredState: 'running' });
}

/** A held task starts when its dependencies are met and ends when one of them failed for good. */
function release(task: Task, verdict: DependencyVerdict, plan: PlanBuilder, now: number): void {
  if (verdict.kind === 'met') {
    plan.update(task, { held: false, status: freshStatus(now, 'created') });
  } else if (verdict.kind === 'failed') {
    const status = { ...freshStatus(now, DEPENDENCY_FAILED), state: 'rejected' as const, error: verdict.reason };
    plan.update(task, { held: false, status });
  } else if (task.status.message !== `waiting for ${verdict.for}`) {
    plan.update(task, { status: freshStatus(now, `waiting for ${verdict.for}`) });
  }
}

function settleOneOff(task: Task, plan: PlanBuilder): void {
  if (task.autoRemove && isFinal(task) && task.desiredState !== 'remove') plan.update(task, { desiredState: 'remove' });
}
