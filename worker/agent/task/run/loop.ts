import type { Clock } from '../../../../base/clock.ts';
import type { ContainerId } from '../../../../base/ids.ts';
import type { Logger } from '../../../../base/log.ts';
import type { ContainerInfo, Engine } from '../../../../node-engine/types.ts';
import type { IngressPort, Task, TaskStatus } from '../../../../proto/types/index.ts';
import type { Health } from '../../health/health.ts';
import { watchHealth } from '../../health/loop.ts';
import { runHooks } from '../../hooks/loop.ts';
import { awaitedPorts } from '../../listening/listening.ts';
import { untilListening } from '../../listening/loop.ts';
import { reached } from '../step.ts';

export interface RunsOptions {
  readonly id: ContainerId;
  readonly containers: Engine['containers'];
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborts with the controller of the task. */
  readonly life: AbortSignal;
  readonly task: () => Task;
  readonly status: () => TaskStatus;
  readonly say: (change: Partial<TaskStatus>) => void;
  /** The controller shall look again. */
  readonly wake: () => void;
  /** Published ports of the node. */
  readonly ingress: () => Iterable<IngressPort>;
  /** The container runs no longer. */
  readonly onEnd: () => void;
}

/** What is watched while a task's container runs, from each start to its end. */
export interface Runs {
  /** Every start of the container has one watcher of its end and, where there is a check, one health monitor. */
  watch(container: ContainerInfo): void;
  /** Its health check is another one now. */
  checkChanged(container: ContainerInfo): void;
  /** Nothing of the present run is watched any more, though it may not have ended. */
  unwatch(why: string): void;
  /** What the task publishes is listened to, as far as it is waited for. */
  readonly listening: boolean;
  /** The hooks after the start have been run. */
  readonly hooked: boolean;
  /** Why the run is given up; empty: it is not. */
  readonly givenUp: string;
  /** The hooks of a container that has just been started. One that fails gives it up, as Compose does. */
  afterStart(): Promise<void>;
  /**
   * The hooks of a container that is about to be stopped; they fail without consequences.
   * @returns what is left of the grace, ms
   */
  beforeStop(graceMs: number): Promise<number>;
  /** Hooks of a container that shall not run any more are not waited for. */
  abortHooks(): void;
}

export function watchRuns(options: RunsOptions): Runs {
  const { id, containers, clock, logger, life, say, wake } = options;
  let givenUp = '';
  let hooked = false;
  let listening = false;
  /** Hooks that run now. */
  let hooks: AbortController | undefined;
  let watched: ContainerInfo['startedAt'] | undefined;
  let monitor: AbortController | undefined;
  /** Ends the health checks of the run alone. */
  let checks: AbortController | undefined;
  /** Aborts when the run has ended. */
  let running: AbortSignal = life;

  /** Without a health check it is taken for running when its published ports are listened to: nobody shall be refused by what just begins. */
  const watchPorts = (container: ContainerInfo, run: AbortSignal): void => {
    const isKnown = reached(options.status(), 'running') || container.healthCheck !== undefined;
    const ports = isKnown ? [] : awaitedPorts(options.task(), options.ingress());
    listening = ports.length === 0 || containers.listening === undefined;
    if (listening) return;
    const ask = (): Promise<ReadonlySet<number> | undefined> =>
      containers.listening?.(id) ?? Promise.resolve(undefined);
    void untilListening(ask, ports, clock, run).then(() => {
      if (watched !== container.startedAt) return;
      listening = true;
      wake();
    });
  };

  /** @param known health by the check that it had before; absent: it has just been started */
  const watchChecks = (container: ContainerInfo, run: AbortSignal, known?: TaskStatus['health']): void => {
    checks?.abort(new Error('another check'));
    checks = new AbortController();
    running = run;
    if (container.healthCheck === undefined) return;
    const told = (health: Health): void => {
      const status = options.status();
      if (health.state !== status.health) {
        say({
          health: health.state,
          message: health.state === 'unhealthy' ? `unhealthy: ${health.lastOutput}` : status.message,
        });
      }
      // With a restart policy an unhealthy container is replaced, as Swarm does; without one it is only shown, as Compose does.
      if (health.state === 'unhealthy' && options.task().spec.restart.condition !== 'none') {
        givenUp = 'unhealthy';
        wake();
      }
    };
    const signal = AbortSignal.any([run, checks.signal]);
    void watchHealth(containers, id, container.healthCheck, clock, signal, told, known);
  };

  return {
    watch(container) {
      if (watched === container.startedAt) return;
      watched = container.startedAt;
      monitor?.abort(new Error('started again'));
      const mine = (monitor = new AbortController());
      const signal = AbortSignal.any([life, mine.signal]);
      givenUp = '';
      hooked = false;
      void containers.wait(id, signal).then(
        () => {
          mine.abort(new Error('ended'));
          options.onEnd();
          wake();
        },
        () => undefined,
      );
      watchChecks(container, signal);
      watchPorts(container, signal);
    },
    checkChanged: (container) => watchChecks(container, running, options.status().health),
    unwatch: (why) => monitor?.abort(new Error(why)),
    get listening() {
      return listening;
    },
    get hooked() {
      return hooked;
    },
    get givenUp() {
      return givenUp;
    },
    async afterStart() {
      const wanted = options.task().spec.container.postStart ?? [];
      const began = watched;
      if (wanted.length > 0) {
        const mine = (hooks = new AbortController());
        if (!reached(options.status(), 'running')) say({ message: 'running post_start hooks' });
        const signal = AbortSignal.any([life, mine.signal]);
        const failure = await runHooks(containers, id, 'post_start', wanted, clock, signal);
        hooks = undefined;
        // A container that has ended by itself says more with its exit code than a hook that ended with it.
        const lives = watched === began && containers.inspect(id)?.state === 'running';
        if (failure !== '' && lives && !mine.signal.aborted && !life.aborted) givenUp = failure;
        if (failure !== '') return;
      }
      hooked = watched === began;
    },
    async beforeStop(graceMs) {
      const wanted = options.task().spec.container.preStop ?? [];
      const neverRan = !reached(options.status(), 'running');
      if (wanted.length === 0 || neverRan || graceMs <= 0) return graceMs;
      const began = clock.monotonic();
      const mine = (hooks = new AbortController());
      const timer = clock.startTimer(graceMs, () => mine.abort(new Error('the stop grace period is over')));
      const signal = AbortSignal.any([life, mine.signal]);
      const failure = await runHooks(containers, id, 'pre_stop', wanted, clock, signal);
      timer.cancel();
      hooks = undefined;
      life.throwIfAborted();
      if (failure !== '') {
        logger.warn('hook failed', { reason: failure });
        say({ message: failure, error: failure });
      }
      return Math.max(0, graceMs - (clock.monotonic() - began));
    },
    abortHooks: () => hooks?.abort(new Error('the container is being stopped')),
  };
}
