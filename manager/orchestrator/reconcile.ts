import type { NodeId, TaskId } from '../../base/ids.ts';
import type { Service, Task } from '../../proto/types/index.ts';
import { currentOf, isGlobal, slotsOf, tasksByService } from '../model/slots.ts';
import type { Slot } from '../model/slots.ts';
import { isFinal, isLive, isServing, mayRun, reached } from '../model/task-state.ts';
import { failedSlots, isUpdating, updateRules } from '../model/update.ts';
import { collectGarbage } from './collect.ts';
import { judgeDependencies, restartWaits } from './dependencies.ts';
import type { DependencyVerdict, Siblings } from './dependencies.ts';
import { wayToSpec } from './live.ts';
import type { Way } from './live.ts';
import { freshStatus, newTask } from './new-task.ts';
import type { TaskSeed } from './new-task.ts';
import { PlanBuilder } from './plan.ts';
import type { ClusterView, LeaderTime, Plan } from './plan.ts';
import { holdsNetwork, networkServiceOf, networkTaskAt, sharing } from '../model/shared-network.ts';
import { DEPENDENCY_FAILED, nextAttempt, nextRestarts, restartDelayMs, willRestart } from '../model/restart.ts';
import { slotTargets, wantedSlots } from './targets.ts';
import type { ConstraintMatch, SlotTarget } from './targets.ts';
import { advanceUpdate, givenUp, updatesAllowed } from './update.ts';

/** A service with its tasks. */
interface Member {
  readonly service: Service;
  readonly tasks: readonly Task[];
}

/**
 * What has to change so that tasks are what the services say: slots filled, outdated tasks replaced, ended ones followed
 * by new ones, stopped and deleted services taken down in the reverse order of their dependencies.
 * @param newTaskId called once for every task that is made
 */
export function reconcile(
  view: ClusterView,
  time: LeaderTime,
  newTaskId: () => TaskId,
  matches: ConstraintMatch,
): Plan {
  const plan = new PlanBuilder();
  for (const siblings of projectsOf(view).values()) {
    // Before anything is judged: on a node that has just come nobody may start before what it depends on is there, too.
    for (const [name, member] of siblings) siblings.set(name, counted(member, view, plan, matches));
    // Nor does anybody start by the spec of one that is being rolled back from it.
    const changed = new Set<string>();
    for (const [name, member] of siblings) {
      if (!isKept(member) || !isUpdating(member.service)) continue;
      const { service, again } = advance(member, view, plan, time, matches);
      siblings.set(name, { ...member, service });
      if (again) changed.add(name);
    }
    for (const [name, member] of siblings) {
      if (!isKept(member)) takeDown(member, siblings, plan, time.now);
      else if (!changed.has(name)) tend(member, siblings, view, plan, time.now, newTaskId, matches);
    }
  }
  for (const task of view.tasks) if (task.oneOff) settleOneOff(task, plan);
  collectGarbage(view, plan);
  return plan.build();
}

function projectsOf(view: ClusterView): Map<string, Map<string, Member>> {
  const tasks = tasksByService(view.tasks);
  const projects = new Map<string, Map<string, Member>>();
  for (const service of view.services) {
    const siblings = projects.get(service.projectId) ?? new Map<string, Member>();
    siblings.set(service.spec.composeName, { service, tasks: tasks.get(service.id) ?? [] });
    projects.set(service.projectId, siblings);
  }
  return projects;
}

const isKept = ({ service }: Member): boolean => !service.pendingDelete && !service.stopped;

/** Dependents that are going down too go first. */
function takeDown({ service, tasks }: Member, siblings: Siblings, plan: PlanBuilder, now: number): void {
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
    if (wanted === 'shutdown') shutDown(task, plan, now);
    else plan.update(task, { desiredState: wanted });
  }
}

/** Ends a task. One that no node was told of has ended with that: a node that becomes free is none for it any more. */
function shutDown(task: Task, plan: PlanBuilder, now: number): void {
  if (task.nodeId === '') {
    const status = { ...freshStatus(now, 'stopped before a node was found'), state: 'shutdown' as const };
    plan.update(task, { desiredState: 'shutdown', held: false, status });
  } else if (task.desiredState !== 'shutdown') plan.update(task, { desiredState: 'shutdown' });
}

/** A global service with the number of its slots as it is now. A node that takes nothing new and has nothing of it has none. */
function counted(member: Member, view: ClusterView, plan: PlanBuilder, matches: ConstraintMatch): Member {
  const { service, tasks } = member;
  if (!isGlobal(service) || service.pendingDelete || service.stopped) return member;
  const slots = slotsOf(tasks);
  const desiredTasks = slotTargets(service, tasks, view.nodes, matches).filter(
    ({ slot, open }) => open || currentOf(slots.get(slot) ?? [], service) !== undefined,
  ).length;
  if (service.desiredTasks === desiredTasks) return member;
  const next = { ...service, desiredTasks };
  plan.updateService(next);
  return { service: next, tasks };
}

/** Takes a service's update further. */
function advance(
  { service, tasks }: Member,
  view: ClusterView,
  plan: PlanBuilder,
  time: LeaderTime,
  matches: ConstraintMatch,
): ReturnType<typeof advanceUpdate> {
  const targets = slotTargets(service, tasks, view.nodes, matches);
  // An update does not wait for nodes that take nothing new: they get the new spec when they are back.
  const open = targets.filter((target) => target.open);
  const numbers = (open.length === 0 ? targets : open).map(({ slot }) => slot);
  return advanceUpdate(service, tasks, slotsOf(tasks), numbers, plan, time);
}

/** Fills a service's slots. */
function tend(
  member: Member,
  siblings: Siblings,
  view: ClusterView,
  plan: PlanBuilder,
  now: number,
  newTaskId: () => TaskId,
  matches: ConstraintMatch,
): void {
  const { service, tasks } = member;
  const targets = slotTargets(service, tasks, view.nodes, matches);
  const verdict = judgeDependencies(service, siblings);
  const mayRestart = (): boolean => !restartWaits(service, siblings);
  const shared = networkServiceOf(service.spec.task);
  const hosts = shared === undefined ? undefined : { name: shared, tasks: siblings.get(shared)?.tasks ?? [] };
  fillSlots(member, targets, { verdict, mayRestart, hosts }, view, plan, now, newTaskId);
}

/** How many more slots may begin their replacement; counted when the first one asks, as most looks find nothing to replace. */
class Budget {
  #left: number | undefined;
  readonly #count: () => number;

  constructor(count: () => number) {
    this.#count = count;
  }

  get left(): number {
    return (this.#left ??= this.#count());
  }

  take(): void {
    this.#left = this.left - 1;
  }
}

/** Whether there is nothing to do in a slot, as in most slots at most looks: its one task is of the present spec and runs as it shall. */
function isSettled(slot: Slot, { specVersion, restartCount }: Service): boolean {
  const [task] = slot;
  return (
    slot.length === 1 &&
    task?.desiredState === 'running' &&
    task.specVersion === specVersion &&
    task.restartCount >= restartCount &&
    !task.held &&
    !isFinal(task)
  );
}

function fillSlots(
  { service, tasks }: Member,
  targets: readonly SlotTarget[],
  { verdict: common, mayRestart, hosts }: Dependencies,
  { nodes, volumes }: ClusterView,
  plan: PlanBuilder,
  now: number,
  newTaskId: () => TaskId,
): void {
  const slots = slotsOf(tasks);
  const isWanted = wantedSlots(service, targets);
  for (const [number, slot] of slots) {
    if (isWanted(number)) continue;
    for (const task of slot) if (task.desiredState !== 'remove') plan.update(task, { desiredState: 'remove' });
  }
  const homesOf = (name: string): readonly NodeId[] => volumes.find(({ spec }) => spec.name === name)?.nodeIds ?? [];
  const budget = new Budget(() => updatesAllowed(service, slots, targets, now));
  for (const { slot: number, node, open } of targets) {
    const slot = slots.get(number) ?? [];
    if (hosts === undefined && isSettled(slot, service)) continue;
    const current = currentOf(slot, service);
    const host = hosts && networkTaskAt(hosts.tasks, { slot: number, ...(node === undefined ? {} : { node }) });
    const lacksHost = hosts !== undefined && host === undefined;
    const verdict: DependencyVerdict =
      lacksHost && common.kind === 'met' ? { kind: 'waiting', for: `${hosts.name} to be started` } : common;
    const heldFor = verdict.kind === 'met' ? undefined : verdict.kind === 'waiting' ? verdict.for : 'a dependency';
    const make = (seed: Partial<TaskSeed>): void => {
      if (!open || plan.isFull) return;
      plan.create(
        newTask(service, {
          id: newTaskId(),
          slot: number,
          now,
          desiredState: 'running',
          ...(node === undefined ? {} : { node }),
          // What has run already is started again without waiting, unless somebody asks for it: that is in order.
          ...(heldFor === undefined || (seed.attempt !== undefined && !lacksHost) ? {} : { heldFor }),
          ...(host === undefined ? {} : { network: host }),
          ...seed,
        }),
      );
    };
    const superfluous = givenUp(slot, service);
    for (const task of superfluous) plan.update(task, { desiredState: 'remove' });
    if (superfluous.length > 0) continue;
    // What is on its way out of the slot goes first.
    const isLeaving = slot.some((task) => mayRun(task) && !isLive(task));
    if (current === undefined) {
      if (!isLeaving) make({});
    } else if (current.specVersion !== service.specVersion) {
      const node = nodes.find(({ id }) => id === current.nodeId);
      const way = (): Way => wayToSpec(current, service, node, { nodes, homesOf });
      changeOutdated(current, service, way, budget, isLeaving, plan, make);
    } else keep(current, slot, service, { verdict, mayRestart, hosts, host }, plan, now, make);
  }
}

type Make = (seed: Partial<TaskSeed>) => void;

/** How the services that a service depends on are. */
interface Dependencies {
  readonly verdict: DependencyVerdict;
  /** None of them is on its way to be restarted first. */
  readonly mayRestart: () => boolean;
  /** Compose name and tasks of the service whose networks its tasks share; undefined: they share none. */
  readonly hosts: { readonly name: string; readonly tasks: readonly Task[] } | undefined;
  /** The task of it that a slot can share the network of now. */
  readonly host?: Task | undefined;
}

/**
 * An outdated task is changed where it runs, if it can be; else its slot gets a new one, and one that runs keeps running until that
 * is prepared (or serves: start-first).
 */
function changeOutdated(
  current: Task,
  service: Service,
  wayTo: () => Way,
  budget: Budget,
  isLeaving: boolean,
  plan: PlanBuilder,
  make: Make,
): void {
  if (budget.left <= 0) {
    // Nothing of the old spec is ever started: a slot that has lost its task gets one of the new spec, in its turn or not.
    const { state } = current.status;
    if (isFinal(current) && !isLeaving && (willRestart(current) || state === 'shutdown')) make({});
    return;
  }
  const way = wayTo();
  if (way.kind === 'wait') return;
  if (way.kind === 'live') {
    // Of an update before: what is left of it goes first.
    if (isLeaving) return;
    budget.take();
    plan.update(current, way.change);
    return;
  }
  const { order } = updateRules(service);
  // Of an update before: a third container beside the two would be one too many.
  if (order === 'start-first' && isLeaving) return;
  budget.take();
  const startFirst = order === 'start-first' || (!isLive(current) && !isLeaving);
  make({ desiredState: startFirst ? 'running' : 'ready', instead: way.reason });
}

/** A slot whose newest task is of the present spec. */
function keep(
  current: Task,
  slot: Slot,
  service: Service,
  { verdict, mayRestart, hosts, host }: Dependencies,
  plan: PlanBuilder,
  now: number,
  make: Make,
): void {
  const older = slot.filter((task) => task.specVersion !== service.specVersion);
  const { order } = updateRules(service);
  const hasFailed = failedSlots(service).has(current.slot) && older.some(isLive);
  if (isFinal(current)) {
    // The old task serves on: the new one is tried again when the update is resumed.
    if (hasFailed) return;
    const desiredState = order === 'stop-first' && older.some(mayRun) ? 'ready' : 'running';
    const asked = service.restartCount > current.restartCount || current.status.state === 'shutdown';
    if (asked) make({ predecessor: current, desiredState });
    else if (willRestart(current)) {
      make({
        predecessor: current,
        desiredState,
        attempt: nextAttempt(current),
        restartDelayMs: Math.max(restartDelayMs(current), returnDelayMs(current)),
        restartedAt: nextRestarts(current, now),
      });
    }
    return;
  }
  if (hasFailed && isUpdating(service)) {
    // It gives its place to the next one: never do more run beside each other than the update allows.
    shutDown(current, plan, now);
    return;
  }
  if (current.held) release(current, verdict, host, plan, now);
  else if (hosts !== undefined && hasLostNetwork(current, hosts.tasks)) {
    // Another container comes in its place as soon as there is a network again.
    shutDown(current, plan, now);
    return;
  }
  if (current.restartCount < service.restartCount && mayRestart())
    plan.update(current, { restartCount: service.restartCount });
  const stillUp = older.filter(mayRun);
  const ready = order === 'start-first' ? isServing(current) : !current.held && reached(current.status.state, 'ready');
  for (const task of older) {
    if (task.desiredState !== 'remove' && (ready || isFinal(task) || !mayRun(task)))
      plan.update(task, { desiredState: 'remove' });
  }
  if (current.desiredState === 'ready' && ready && stillUp.length === 0)
    plan.update(current, { desiredState: 'running' });
  if (current.desiredState === 'ready' && older.length === 0) plan.update(current, { desiredState: 'running' });
}

/**
 * A node that comes back first ends what was given up while it was away: what is made there again in the same slot waits as long as
 * that may take, so that the two never run beside each other.
 */
const returnDelayMs = ({ boundNode, status, spec }: Task): number =>
  boundNode !== undefined && status.state === 'orphaned' ? spec.container.stopGraceMs : 0;

/** Whether the container whose network a task shares is no longer there. */
function hasLostNetwork({ networkTask }: Task, tasks: readonly Task[]): boolean {
  const host = tasks.find(({ id }) => id === networkTask);
  return host === undefined || !holdsNetwork(host);
}

/** A held task starts when its dependencies are met and ends when one of them failed for good. */
function release(task: Task, verdict: DependencyVerdict, host: Task | undefined, plan: PlanBuilder, now: number): void {
  if (verdict.kind === 'met') {
    const shared = host === undefined || task.networkTask !== undefined ? {} : sharing(task, host);
    plan.update(task, { held: false, status: freshStatus(now, 'created'), ...shared });
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
