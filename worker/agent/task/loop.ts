import { backoffMs, sleep } from '../../../base/async.ts';
import type { Timer } from '../../../base/clock.ts';
import { TsswarmError, isTsswarmError, messageOf } from '../../../base/errors.ts';
import type { Drift, Task, TaskStatus } from '../../../proto/types/index.ts';
import type { Assignments } from '../assignments.ts';
import { containerIdOf } from '../container-id.ts';
import { mergeDrifts } from '../drift/merge.ts';
import { containerRequest } from './container-request.ts';
import type { TaskController, TaskSurroundings } from './controller.ts';
import { leavesData } from './data.ts';
import { endReason, lastRun } from './ending.ts';
import { watchRuns } from './run/loop.ts';
import type { Step, StepArguments, StepName } from './step.ts';
import { earliestStart, isFinal, nextStep } from './step.ts';

const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 10_000;
/** Attempts at a step whose error may pass (a registry, an address) before the task is rejected. */
const ATTEMPTS = 5;

/**
 * Starts a controller. It observes, takes one step, and observes again; between changes it sleeps.
 * @param status what was last said of the task: a new task's first status, or the one kept on disk
 */
export function startTaskController(first: Task, firstStatus: TaskStatus, around: TaskSurroundings): TaskController {
  const { engine, clock } = around;
  const id = containerIdOf(first.id);
  const logger = around.logger.child({ taskId: first.id, task: first.name });
  const life = new AbortController();
  let task = first;
  let status = firstStatus;
  // A clock that was set back meanwhile is not waited for.
  const seenAt = Math.min(firstStatus.timestamp, clock.now());
  /** When this node was given it, in monotonic time; from before this process was started as far as the kept status tells. */
  const bornAt = clock.monotonic() - (firstStatus.ageMs ?? 0) - (clock.now() - seenAt);
  let imageId: string | undefined;
  const isFenced = around.isFenced(first);
  let wasFenced = false;
  let wake: () => void = () => undefined;
  let timer: Timer | undefined;
  let attempts = 0;
  /** A network did not have it: somebody may have taken its bridge away. */
  let areNetworksDoubted = false;
  /** What it shares with another container may have changed. */
  let isStale = first.networkTask !== undefined;
  /** It is about to be stopped: nobody is led to it. */
  let leaving = false;
  /** A stop under way: when it began, and the timer of a grace that was shortened meanwhile. */
  let stopping: { readonly since: number; hurry: Timer | undefined } | undefined;

  const say = (change: Partial<TaskStatus>): void => {
    const before = status.state;
    const ageMs = Math.max(0, Math.round(clock.monotonic() - bornAt));
    status = { ...status, ...change, timestamp: clock.now(), ageMs };
    if (before !== status.state)
      logger.info('task state', { from: before, to: status.state, reason: status.error || status.message });
    around.report(task.id, status);
  };

  const runs = watchRuns({
    id,
    containers: engine.containers,
    clock,
    logger,
    life: life.signal,
    task: () => task,
    status: () => status,
    say,
    wake: () => wake(),
    ingress: () => around.assignments().ingress.values(),
    onEnd: () => around.runningChanged(task),
  });

  /** Where its data is going to be is known to the managers, and will be to those who lead after them. */
  let isKnown = !leavesData(first);
  const mayStart = (): boolean => {
    // What they say of it comes from them. What they were told after they had given it up does not count: they say so first.
    isKnown ||= task.status.containerId !== '' || (around.hasHeard(task.id) && around.mayStart());
    return isKnown && (!isFenced || around.mayStart());
  };

  const executors: { readonly [K in StepName]: (step: StepArguments[K]) => Promise<void> | void } = {
    async report({ state, message }) {
      if (isFinal(state)) await leaveNetworks();
      const container = engine.containers.inspect(id);
      const exit = container?.exit;
      const why = isFinal(state) ? endReason(state, exit?.oomKilled === true, task, status, runs.givenUp) : '';
      say({
        state,
        message,
        error: why,
        pid: container?.pid ?? 0,
        ...(container === undefined ? {} : { containerId: container.id }),
        ...(exit === undefined || container === undefined ? {} : lastRun(container, exit)),
        ...(state === 'running' && container?.healthCheck === undefined ? { health: 'none' } : {}),
      });
    },
    async prepare() {
      const trouble = around.portTrouble(task);
      if (trouble !== undefined) throw new TsswarmError('NOT_SUPPORTED', trouble);
      await prepareNetworks();
      const { image, pullPolicy } = task.spec.container;
      let found = pullPolicy === 'always' && task.predecessor === '' ? undefined : engine.images.find(image);
      if (found === undefined && pullPolicy === 'never') {
        throw new TsswarmError(
          'IMAGE_NOT_FOUND',
          `preparing image "${image}": it is not on this node and pull_policy is never`,
        );
      }
      if (found === undefined) {
        say({ message: `pulling ${image}` });
        found = await engine.images.pull(image, () => undefined, life.signal);
      }
      imageId = found.id;
      say({ imageDigest: found.digest || found.id });
    },
    create: (step) =>
      around.starting.use(async () => {
        if (areNetworksDoubted) await prepareNetworks();
        const before = task.predecessor === '' ? undefined : engine.containers.inspect(containerIdOf(task.predecessor));
        const adopt = before !== undefined && before.state !== 'running' ? before.id : '';
        if (adopt !== '') await around.detachResolver(adopt);
        const assignments = around.assignments();
        await engine.containers.create(
          containerRequest(task, step.imageId, assignments, adopt, around.describe(), isFenced),
          life.signal,
        );
        const how = task.instead === undefined ? 'started' : 'replaced';
        say({ containerId: id, applied: { specVersion: task.specVersion, how, reason: task.instead ?? '' } });
      }),
    start: () => around.starting.use(() => begin()),
    postStart: () => runs.afterStart(),
    async change() {
      const { specVersion } = task;
      const before = engine.containers.inspect(id);
      const changed = await changeContainer();
      const after = engine.containers.inspect(id);
      // It has ended meanwhile: nobody can tell whether it ever had what it was to become.
      if (after?.state !== 'running') return;
      if (JSON.stringify(before?.healthCheck) !== JSON.stringify(after.healthCheck)) {
        if (after.healthCheck === undefined) status = { ...status, health: 'none' };
        runs.checkChanged(after);
      }
      const known = status.applied ?? { how: 'started', reason: '' };
      const { refused: _, ...unrefused } = status;
      status = unrefused;
      say({
        applied:
          changed.length === 0
            ? { ...known, specVersion }
            : { specVersion, how: 'live', reason: `changed ${changed.join(', ')}` },
      });
    },
    async restart({ graceMs }) {
      runs.unwatch('restarting');
      if (engine.containers.inspect(id)?.state === 'running') {
        await leave();
        await engine.containers.stop(id, { graceMs: await runs.beforeStop(graceMs) });
      }
      await around.starting.use(() => begin());
      await runs.afterStart();
      say({
        restartCount: task.restartCount,
        pid: engine.containers.inspect(id)?.pid ?? 0,
        message: 'restarted',
        error: '',
      });
    },
    async stop({ graceMs }) {
      if (runs.givenUp === '') runs.unwatch('stopping');
      await leave();
      stopping = { since: clock.monotonic(), hurry: undefined };
      try {
        await engine.containers.stop(id, { graceMs: await runs.beforeStop(graceMs) });
      } finally {
        stopping.hurry?.cancel();
        stopping = undefined;
      }
      around.runningChanged(task);
    },
    async fence({ graceMs }) {
      // No hooks: there is no time for them, and its supervisor kills it when there is none left.
      runs.unwatch('fenced');
      wasFenced = true;
      logger.warn('stopped with the lease of the node', { graceMs });
      await engine.containers.stop(id, { graceMs });
      around.runningChanged(task);
    },
    async remove() {
      runs.unwatch('removing');
      await around.detachResolver(id);
      await engine.containers.remove(id);
    },
    wait({ until }) {
      timer?.cancel();
      if (until !== undefined) timer = clock.startTimer(Math.max(0, until - clock.now()), () => wake());
      return new Promise<void>((resolve) => (wake = resolve));
    },
  };

  const prepareNetworks = async (): Promise<void> => {
    await around.prepareNetworks(task, areNetworksDoubted ? 'doubted' : undefined);
    areNetworksDoubted = false;
  };

  /** Makes the running container what the task's spec says. @returns what was changed */
  const changeContainer = async (): Promise<readonly string[]> => {
    const container = engine.containers.inspect(id);
    if (container === undefined || (container.specVersion === task.specVersion && !isStale)) return [];
    if (engine.containers.update === undefined)
      throw new TsswarmError('NOT_SUPPORTED', `changing "${task.name}": this node cannot change running containers`);
    const fenced = around.isFenced(task);
    if (areNetworksDoubted || task.addresses.some(({ ipv4 }) => container.addresses?.includes(ipv4) === false))
      await prepareNetworks();
    const request = containerRequest(task, container.imageId, around.assignments(), '', around.describe(), fenced);
    const leaves = container.addresses?.some((own) => !task.addresses.some(({ ipv4 }) => ipv4 === own)) ?? false;
    if (leaves && task.networkTask === undefined) await around.addressesChanged(task);
    const changed = await engine.containers.update(request);
    isStale = false;
    await around.attachResolver(task, id, 'running');
    // It reaches others, and they are led to it as soon as they hear of it: nothing waits for the others of this node.
    if (changed.includes('networks')) void around.addressesChanged(task);
    return changed;
  };

  /** An ended task's addresses are given to others as soon as its end is told. */
  const leaveNetworks = async (): Promise<void> => {
    await around.detachResolver(id);
    await engine.containers.leaveNetworks(id);
  };

  /** Before anything is said to the process, nobody new comes to it. */
  const leave = async (): Promise<void> => {
    leaving = true;
    await around.withdraw(task);
  };

  const begin = async (): Promise<void> => {
    if (areNetworksDoubted) await prepareNetworks();
    await around.attachResolver(task, id);
    const container = await engine.containers.start(id);
    leaving = false;
    runs.watch(container);
    around.runningChanged(task);
  };

  const run = async (): Promise<void> => {
    const container = engine.containers.inspect(id);
    if (container?.state === 'running') {
      await around
        .attachResolver(task, id)
        .catch((error: unknown) => logger.warn('resolver', { reason: messageOf(error) }));
      runs.watch(container);
      around.runningChanged(task);
    }
    while (!life.signal.aborted) {
      const container = engine.containers.inspect(id);
      const fencedMs = isFenced ? around.fencedMs() : undefined;
      const step = nextStep({
        task,
        status,
        container,
        imageId,
        hooked: runs.hooked,
        listening: runs.listening,
        givenUp: runs.givenUp,
        mayStart: mayStart(),
        mayChange: around.mayChange() && hasAddresses(task, around.assignments()),
        isStale,
        wasFenced: wasFenced || container?.exit?.leaseOver === true,
        ...(fencedMs === undefined ? {} : { fencedMs }),
        now: clock.now(),
        startAt: earliestStart(task, seenAt),
      });
      try {
        if (step.action !== 'wait') logger.debug('step', { action: step.action });
        await (executors[step.action] as (step: Step) => Promise<void> | void)(step);
        if (step.action !== 'wait' && step.action !== 'report') attempts = 0;
      } catch (error) {
        if (life.signal.aborted) return;
        await failed(step, error);
      }
    }
  };

  /** A step before the start that fails rejects the task with the real cause; a stop or removal is tried until it works. */
  const failed = async (step: Step, error: unknown): Promise<void> => {
    const reason = messageOf(error);
    logger.warn('step failed', { action: step.action, reason });
    const mustHappen =
      step.action === 'fence' || step.action === 'stop' || step.action === 'remove' || step.action === 'report';
    if (isTsswarmError(error) && error.code === 'NETWORK_FAILED') areNetworksDoubted = true;
    const mayPass = isTsswarmError(error) && error.retryable && attempts < ATTEMPTS;
    attempts++;
    if (step.action === 'change' && !mayPass) {
      isStale = false;
      // It runs on as it was; the manager has it replaced.
      if (engine.containers.inspect(id)?.state === 'running')
        say({ refused: { specVersion: task.specVersion, reason } });
      return;
    }
    // The lease ran out while it was being started: it waits for the next one.
    if (isFenced && !mustHappen && !around.mayStart()) return;
    if (!mustHappen && !mayPass) {
      if (isFinal(status.state)) return;
      await leaveNetworks().catch((cause: unknown) => logger.warn('networks', { reason: messageOf(cause) }));
      say({ state: step.action === 'restart' ? 'failed' : 'rejected', message: 'could not start', error: reason });
      return;
    }
    if (!mustHappen) say({ message: `${reason}; trying again` });
    await sleep(clock, backoffMs(attempts - 1, FIRST_RETRY_MS, LONGEST_RETRY_MS), life.signal).catch(() => undefined);
  };

  /** What a task and its node agree on is what the container shall be: while it is being changed, there is nothing to compare with. */
  const look = async (): Promise<readonly Drift[]> => {
    const { applied, drifts = [] } = status;
    const isSettled = applied?.specVersion === task.specVersion && status.state === 'running' && !leaving;
    const container = engine.containers.inspect(id);
    const { checkDrift } = engine.containers;
    if (checkDrift === undefined || !isSettled || !around.mayChange() || container?.state !== 'running') return drifts;
    const fenced = around.isFenced(task);
    const request = containerRequest(task, container.imageId, around.assignments(), '', around.describe(), fenced);
    const found = await checkDrift.call(engine.containers, request, { repair: task.spec.drift !== 'report' });
    const known = mergeDrifts(status.drifts ?? [], found, clock.now());
    if (life.signal.aborted || known === status.drifts || isFinal(status.state)) return status.drifts ?? [];
    const { drifts: _, ...rest } = status;
    status = known.length === 0 ? rest : { ...rest, drifts: known };
    around.report(task.id, status);
    return known;
  };

  void run().catch((error: unknown) => logger.error('controller ended', { reason: messageOf(error) }));
  return {
    update(next) {
      const shortened = next.graceOverrideMs >= 0 && next.graceOverrideMs !== task.graceOverrideMs;
      task = next;
      // Hooks of a container that shall not run any more are not waited for; those before a stop have their own end.
      if (stopping === undefined && isUnwanted(next)) runs.abortHooks();
      if (shortened && stopping !== undefined) {
        // A second Ctrl-C, `stop -t`: a stop that waits for its grace to pass does not wait longer than is wanted now.
        stopping.hurry?.cancel();
        const left = next.graceOverrideMs - (clock.monotonic() - stopping.since);
        stopping.hurry = clock.startTimer(Math.max(0, left), () => {
          engine.containers
            .kill(id, 'SIGKILL')
            .catch((error: unknown) => logger.debug('ended before it was killed', { reason: messageOf(error) }));
        });
      }
      wake();
    },
    get status() {
      return status;
    },
    get task() {
      return task;
    },
    get running() {
      return !leaving && engine.containers.inspect(id)?.state === 'running';
    },
    get leaving() {
      return leaving;
    },
    look,
    get addresses() {
      const own = engine.containers.inspect(id)?.addresses;
      return own === undefined ? task.addresses : task.addresses.filter(({ ipv4 }) => own.includes(ipv4));
    },
    refresh() {
      isStale = true;
      wake();
    },
    close() {
      life.abort(new Error('the agent lets go'));
      timer?.cancel();
      wake();
    },
  };
}

/** The managers have given it an address on each of its networks. */
function hasAddresses({ spec, addresses }: Task, { networks }: Assignments): boolean {
  const names = addresses.map(({ networkId }) => networks.get(networkId)?.spec.name);
  return spec.networkMode !== 'networks' || spec.networks.every(({ network }) => names.includes(network));
}

const isUnwanted = ({ desiredState }: Task): boolean => desiredState === 'shutdown' || desiredState === 'remove';
