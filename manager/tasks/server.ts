import type { Clock } from '../../base/clock.ts';
import { TsswarmError, isTsswarmError, messageOf } from '../../base/errors.ts';
import type { NodeId, TaskId } from '../../base/ids.ts';
import type { Caller } from '../../proto/rpc/caller.ts';
import type { Connection, DuplexCall, ServiceClient } from '../../proto/rpc/client.ts';
import type { RelayHub } from '../../proto/rpc/relay/hub.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import { relayService, tasksService } from '../../proto/rpc/services.ts';
import type { ListContainersResponse, ProcessInput, Task } from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import type { Store } from '../store/types.ts';
import { untilTask } from './until-task.ts';
import { whileUp } from './while-up.ts';

type Tasks = ServiceHandlers<typeof tasksService>;
type TasksClient = ServiceClient<typeof tasksService>;

/** A task that this manager has not heard of may have been made at the leader this moment, ms. */
const NEWS_MS = 1_500;
/** A node that lost its manager looks for another: so long it is waited for, ms. */
const RECONNECT_MS = 4_000;
/** Another manager says within this time whether a node listens to it, ms. */
const ASK_MS = 1_500;
/** How long nodes have to say what containers they have, ms: a list is shown without those that do not. */
const LIST_MS = 3_000;
/** The same when they look at them, one after the other, and repair what they find. */
const LOOK_MS = 20_000;

export interface TaskRouterOptions {
  readonly nodeId: NodeId;
  readonly store: Store;
  readonly clock: Clock;
  readonly hub: RelayHub;
  /** What answers for the tasks of this node, and whether it has the container of a task. */
  readonly local: Tasks;
  readonly isHere: (taskId: string) => boolean;
  /** The other managers, and a connection to one; undefined: it is none. */
  readonly managers: () => readonly NodeId[];
  readonly manager: (nodeId: NodeId) => Connection | undefined;
}

/** Where a task is answered for. */
type Place =
  { readonly kind: 'here' } | { readonly kind: 'there'; readonly nodeId: NodeId; readonly client: TasksClient };

/**
 * The tasks of every node, at any manager: what is asked of a task goes to the node that has it. A manager's own tasks are asked for
 * at its port; a worker listens on none, so they go through the manager that it is connected to (proto/rpc/relay).
 */
export function createTaskRouter(options: TaskRouterOptions): Tasks {
  const { nodeId: self, store, clock, hub, local, isHere } = options;

  /** @throws NOT_FOUND; NODE_UNREACHABLE naming the node that cannot be reached */
  const find = async (taskId: string, caller: Caller, wait: boolean, signal: AbortSignal): Promise<Place> => {
    if (isHere(taskId)) return { kind: 'here' };
    const patience = { newsMs: NEWS_MS, placeMs: wait ? Infinity : NEWS_MS };
    const task = await untilTask(store, clock, taskId as TaskId, patience, signal);
    if (task === undefined) {
      throw new TsswarmError('NOT_FOUND', `finding task "${taskId}": the cluster has no such task`, {
        hint: 'see "tsswarm ps"',
      });
    }
    if (task.nodeId === '') {
      const why = task.status.error || task.status.message;
      if (isFinal(task))
        throw new TsswarmError('RUNTIME_FAILED', why || `reaching task "${task.name}": it was on no node`);
      throw new TsswarmError('CONTAINER_NOT_RUNNING', `reaching task "${task.name}": it is on no node yet`, {
        hint: why || 'see "tsswarm ps"',
      });
    }
    const nodeId = task.nodeId as NodeId;
    if (nodeId === self) return { kind: 'here' };
    return { kind: 'there', nodeId, client: await reach(nodeId, caller, signal, task) };
  };

  const reach = async (nodeId: NodeId, caller: Caller, signal: AbortSignal, task?: Task): Promise<TasksClient> => {
    const deadline = clock.monotonic() + RECONNECT_MS;
    for (;;) {
      if (hub.holds(nodeId)) return hub.service(nodeId, tasksService);
      // Whoever passed this on has looked elsewhere already.
      if (caller.via === undefined) {
        const direct = options.manager(nodeId);
        if (direct !== undefined) return direct.service(tasksService, caller);
        const holder = await holderOf(nodeId, signal);
        if (holder !== undefined) return holder.service(tasksService, caller);
      }
      const node = store.view((tx) => tx.get('node', nodeId));
      const isGone =
        node === undefined || (node.status.state === 'down' && clock.now() - node.meta.updatedAt > RECONNECT_MS);
      if (isGone || caller.via !== undefined || clock.monotonic() >= deadline)
        throw unreachable(nodeId, node?.description.hostname, node?.status.state, task);
      await newsOr(250, signal);
    }
  };

  const newsOr = async (ms: number, signal: AbortSignal): Promise<void> => {
    const patience = new AbortController();
    const timer = clock.startTimer(ms, () => patience.abort());
    await hub.next(AbortSignal.any([signal, patience.signal]));
    timer.cancel();
    signal.throwIfAborted();
  };

  /** The manager that a node listens to; undefined: none says so. */
  const holderOf = async (nodeId: NodeId, outer: AbortSignal): Promise<Connection | undefined> => {
    const patience = new AbortController();
    const timer = clock.startTimer(ASK_MS, () => patience.abort(new Error('no answer in time')));
    const signal = AbortSignal.any([outer, patience.signal]);
    try {
      return await Promise.any(
        options.managers().map(async (id) => {
          const connection = options.manager(id);
          const held = await connection?.service(relayService).holds({ nodeIds: [nodeId] }, signal);
          if (connection === undefined || held?.nodeIds.includes(nodeId) !== true) throw new Error('not there');
          return connection;
        }),
      );
    } catch {
      return undefined;
    } finally {
      timer.cancel();
    }
  };

  /** Ends the call when its node is down for good, instead of waiting for a connection that says nothing. */
  const guarded = <T>(
    nodeId: NodeId,
    outer: AbortSignal,
    calls: (signal: AbortSignal) => AsyncIterable<T>,
  ): AsyncIterable<T> =>
    whileUp(store, clock, nodeId, outer, calls, (node) =>
      unreachable(nodeId, node?.description.hostname, node?.status.state),
    );

  async function* both<Q, A>(
    taskId: (first: Q) => { readonly taskId: string; readonly wait?: boolean } | undefined,
    inputs: AsyncIterable<Q>,
    signal: AbortSignal,
    caller: Caller,
    here: (inputs: AsyncIterable<Q>, signal: AbortSignal, caller: Caller) => AsyncIterable<A>,
    there: (client: TasksClient) => (signal?: AbortSignal) => DuplexCall<Q, A>,
  ): AsyncIterable<A> {
    const iterator = inputs[Symbol.asyncIterator]();
    const first = await iterator.next();
    if (first.done === true) throw new TsswarmError('CANCELLED', 'starting a call: the caller is gone');
    const all = withFirst(first.value, iterator);
    const named = taskId(first.value);
    const place =
      named === undefined ? ({ kind: 'here' } as const) : await find(named.taskId, caller, named.wait === true, signal);
    if (place.kind === 'here') return yield* here(all, signal, caller);
    yield* guarded(place.nodeId, signal, (life) => passBoth(there(place.client)(life), all, life));
  }

  return {
    async containers(request, signal, caller) {
      const { taskIds = [], look = false } = request;
      if (taskIds.length === 0) return local.containers(request, signal, caller);
      const byNode = new Map<string, string[]>();
      for (const taskId of taskIds) {
        const nodeId = isHere(taskId) ? self : store.view((tx) => tx.get('task', taskId as TaskId))?.nodeId;
        if (nodeId === undefined || nodeId === '') continue;
        byNode.set(nodeId, [...(byNode.get(nodeId) ?? []), taskId]);
      }
      const patience = new AbortController();
      const timer = clock.startTimer(look ? LOOK_MS : LIST_MS, () =>
        patience.abort(new TsswarmError('DEADLINE_EXCEEDED', 'listing containers: no answer in time')),
      );
      const life = AbortSignal.any([signal, patience.signal]);
      const answers = await Promise.all(
        [...byNode].map(async ([nodeId, ids]): Promise<ListContainersResponse> => {
          try {
            if (nodeId === self) return await local.containers({ taskIds: ids, look }, life, caller);
            return await (await reach(nodeId as NodeId, caller, life)).containers({ taskIds: ids, look }, life);
          } catch (error) {
            return { containers: [], unreachable: [{ nodeId, reason: messageOf(error) }] };
          }
        }),
      );
      timer.cancel();
      return {
        containers: answers.flatMap(({ containers }) => containers),
        unreachable: answers.flatMap(({ unreachable: nodes = [] }) => nodes),
      };
    },
    async *logs(request, signal, caller) {
      const place = await find(request.taskId, caller, false, signal);
      if (place.kind === 'here') yield* local.logs(request, signal, caller);
      else yield* guarded(place.nodeId, signal, (life) => place.client.logs(request, life));
    },
    async *stats(request, signal, caller) {
      const place = await find(request.taskId, caller, false, signal);
      if (place.kind === 'here') yield* local.stats(request, signal, caller);
      else yield* guarded(place.nodeId, signal, (life) => place.client.stats(request, life));
    },
    async *copyFrom(request, signal, caller) {
      const place = await find(request.taskId, caller, false, signal);
      if (place.kind === 'here') yield* local.copyFrom(request, signal, caller);
      else yield* guarded(place.nodeId, signal, (life) => place.client.copyFrom(request, life));
    },
    async doctor(request, signal, caller) {
      const nodeId = request.nodeId as NodeId;
      if (request.nodeId === '' || nodeId === self) return local.doctor(request, signal, caller);
      return (await reach(nodeId, caller, signal)).doctor(request, signal);
    },
    async rotateKey(request, signal, caller) {
      const nodeId = request.nodeId as NodeId;
      if (request.nodeId === '' || nodeId === self) return local.rotateKey(request, signal, caller);
      return (await reach(nodeId, caller, signal)).rotateKey(request, signal);
    },
    async top(request, signal, caller) {
      const place = await find(request.taskId, caller, false, signal);
      return place.kind === 'here' ? local.top(request, signal, caller) : place.client.top(request, signal);
    },
    async statPath(request, signal, caller) {
      const place = await find(request.taskId, caller, false, signal);
      return place.kind === 'here' ? local.statPath(request, signal, caller) : place.client.statPath(request, signal);
    },
    exec: (inputs, signal, caller) =>
      both(
        ({ exec }: ProcessInput) => exec,
        inputs,
        signal,
        caller,
        local.exec,
        (client) => client.exec,
      ),
    attach: (inputs, signal, caller) =>
      both(
        ({ attach }: ProcessInput) => attach,
        inputs,
        signal,
        caller,
        local.attach,
        (client) => client.attach,
      ),
    copyTo: (inputs, signal, caller) =>
      both(
        ({ start }) => start,
        inputs,
        signal,
        caller,
        local.copyTo,
        (client) => client.copyTo,
      ),
  };
}

async function* withFirst<T>(first: T, rest: AsyncIterator<T>): AsyncIterable<T> {
  yield first;
  for (;;) {
    const next = await rest.next();
    if (next.done === true) return;
    yield next.value;
  }
}

async function* passBoth<Q, A>(
  call: DuplexCall<Q, A>,
  inputs: AsyncIterable<Q>,
  signal: AbortSignal,
): AsyncIterable<A> {
  void passInput(call, inputs, signal);
  try {
    yield* call.output;
  } finally {
    call.cancel();
  }
}

async function passInput<Q, A>(call: DuplexCall<Q, A>, inputs: AsyncIterable<Q>, signal: AbortSignal): Promise<void> {
  try {
    for await (const input of inputs) await call.send(input);
    // Whoever goes away has not said that this was all.
    if (!signal.aborted) call.end();
  } catch (error) {
    // What cannot be sent any more ends with the output. A caller that is gone ends the call.
    if (!isTsswarmError(error)) call.cancel();
  }
}

function unreachable(
  nodeId: string,
  hostname: string | undefined,
  state: string | undefined,
  task?: Task,
): TsswarmError {
  const what =
    task === undefined ? `node "${hostname || nodeId}"` : `task "${task.name}" on node "${hostname || nodeId}"`;
  const reason =
    state === undefined
      ? 'the node is no longer in the cluster'
      : state === 'down'
        ? 'the node is down'
        : 'no manager has a connection to the node';
  return new TsswarmError('NODE_UNREACHABLE', `reaching ${what}: ${reason}`, {
    hint: 'see "tsswarm node ls"; its containers may run on, and are reached when it is back',
  });
}
