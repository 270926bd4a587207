import type { Clock, Timer } from '../../base/clock.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import { sleep } from '../../base/async.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import type { dispatcherService } from '../../proto/rpc/services.ts';
import type {
  AssignmentChange,
  AssignmentsRequest,
  Node,
  SessionRequest,
  UpdateTaskStatusRequest,
} from '../../proto/types/index.ts';
import { heartbeatMs } from '../cluster/spec.ts';
import type { Store, WriteTransaction } from '../store/types.ts';
import { assignmentSet } from './assignment-set.ts';
import { completeChange, difference } from './difference.ts';
import { withStatus } from './status.ts';

/** A node that is silent for so many heartbeats is down. */
const GRACE = 3;
/** Commits that follow each other closely are sent as one difference. */
const GATHER_MS = 1;

interface Session {
  readonly id: string;
  readonly nodeId: NodeId;
  readonly end: AbortController;
  deadline: Timer;
}

export interface DispatcherOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Where managers are reached now, for the workers to keep; absent: they are told of none. */
  readonly managers?: ManagerAddresses;
}

/** The addresses of all managers, and word when they change. */
export interface ManagerAddresses {
  current(): readonly string[];
  /** Calls `listener` after every change, until the returned function is called. */
  onChange(listener: () => void): () => void;
}

/** The manager's side of the workers' sessions. */
export interface Dispatcher {
  readonly handlers: ServiceHandlers<typeof dispatcherService, []>;
  /**
   * Gives every node that the store says is ready the time to register that a heartbeat has; who does not is down. For a
   * manager that begins to lead: its nodes were another's.
   */
  takeOver(signal: AbortSignal): Promise<void>;
  /** Ends all sessions, as on the loss of leadership. */
  close(): void;
}

/** Makes the dispatcher; it works as soon as its handlers are served. */
export function createDispatcher({ store, clock, random, logger: parent, managers }: DispatcherOptions): Dispatcher {
  const logger = parent.child({ component: 'dispatcher' });
  const sessions = new Map<NodeId, Session>();
  /** As the cluster says now: a change is told with the answer to the next heartbeat. */
  const period = (): number => heartbeatMs(store.view((tx) => tx.list('cluster')[0]));

  const demand = ({ sessionId, nodeId }: AssignmentsRequest): Session => {
    const session = sessions.get(nodeId as NodeId);
    if (session?.id !== sessionId) {
      throw new TsswarmError('NOT_FOUND', `using session "${sessionId}": the node has no such session`, {
        hint: 'register again',
      });
    }
    return session;
  };
  const arm = (session: Session): Timer =>
    clock.startTimer(period() * GRACE, () =>
      session.end.abort(new TsswarmError('DEADLINE_EXCEEDED', 'heartbeat failure')),
    );

  const handlers: Dispatcher['handlers'] = {
    async *session(request, gone) {
      const nodeId = request.nodeId as NodeId;
      sessions.get(nodeId)?.end.abort(new TsswarmError('CONFLICT', 'the node has begun another session'));
      const session: Session = {
        id: newId(random),
        nodeId,
        end: new AbortController(),
        deadline: clock.startTimer(0, () => undefined),
      };
      session.deadline = arm(session);
      sessions.set(nodeId, session);
      await store.update((tx) => registerNode(tx, request, clock.now()));
      const signal = AbortSignal.any([gone, session.end.signal]);
      try {
        let said = managers?.current() ?? [];
        yield { sessionId: session.id, heartbeatMs: period(), managers: said };
        while (!signal.aborted) {
          await changed(managers, signal);
          const now = managers?.current() ?? [];
          if (signal.aborted || now.join() === said.join()) continue;
          said = now;
          yield { sessionId: session.id, heartbeatMs: period(), managers: said };
        }
        if (session.end.signal.aborted) throw session.end.signal.reason;
      } finally {
        session.deadline.cancel();
        session.end.abort(new TsswarmError('UNAVAILABLE', 'the session is over'));
        if (sessions.get(nodeId) === session) {
          sessions.delete(nodeId);
          await markDown(nodeId, messageOf(signal.reason)).catch((error: unknown) =>
            logger.warn('node state', { reason: messageOf(error) }),
          );
        }
      }
    },
    heartbeat(request) {
      try {
        const session = demand(request);
        session.deadline.cancel();
        session.deadline = arm(session);
        return Promise.resolve({ heartbeatMs: period() });
      } catch (error) {
        return Promise.reject(error as Error);
      }
    },
    async *assignments(request, gone) {
      const session = demand(request);
      yield* stream(session, AbortSignal.any([gone, session.end.signal]));
    },
    async updateTaskStatus(request) {
      demand(request);
      await takeReports(request);
      return {};
    },
  };

  async function* stream({ nodeId }: Session, signal: AbortSignal): AsyncIterable<AssignmentChange> {
    const { result: first, watch } = store.viewAndWatch((tx) => assignmentSet(tx, nodeId));
    const stop = (): void => watch.close();
    signal.addEventListener('abort', stop, { once: true });
    let sent = first;
    let sequence = 0;
    let dirty = false;
    let open = true;
    let wake: () => void = () => undefined;
    const watching = (async () => {
      for await (const { changes } of watch) {
        if (changes.every(({ table }) => table === 'node' || table === 'cluster' || table === 'project')) continue;
        dirty = true;
        wake();
      }
    })();
    watching.then(
      () => ((open = false), wake()),
      () => ((open = false), wake()),
    );
    try {
      yield completeChange(sent, sequence++);
      while (open && !signal.aborted) {
        if (!dirty) {
          await new Promise<void>((resolve) => (wake = resolve));
          continue;
        }
        await sleep(clock, GATHER_MS, signal).catch(() => undefined);
        dirty = false;
        const now = store.view((tx) => assignmentSet(tx, nodeId));
        const change = difference(sent, now, sequence);
        sent = now;
        if (change === undefined) continue;
        sequence++;
        yield change;
      }
    } finally {
      signal.removeEventListener('abort', stop);
      watch.close();
    }
    await watching;
  }

  const takeReports = async (request: UpdateTaskStatusRequest): Promise<void> => {
    await store.update((tx) => {
      for (const { taskId, status } of request.updates) {
        const task = tx.get('task', taskId);
        if (task === undefined || task.nodeId !== request.nodeId) continue;
        const next = withStatus(task, status);
        if (next !== undefined) tx.update('task', next);
      }
      for (const name of request.removedNetworks) {
        for (const network of tx.find('network', 'name', name))
          if (network.pendingDelete) tx.remove('network', network.id);
      }
      for (const name of request.removedVolumes) {
        for (const volume of tx.find('volume', 'name', name)) {
          if (!volume.pendingDelete) continue;
          // It goes when the last node that has it has said so.
          const left = (volume.nodeIds ?? []).filter((id) => id !== request.nodeId && tx.get('node', id) !== undefined);
          if (left.length === 0) tx.remove('volume', volume.id);
          else tx.update('volume', { ...volume, nodeIds: left });
        }
      }
    });
  };

  const markDown = async (nodeId: NodeId, message: string): Promise<void> => {
    logger.warn('node down', { nodeId, reason: message });
    await store.update((tx) => {
      const node = tx.get('node', nodeId);
      if (node !== undefined) tx.update('node', { ...node, status: { ...node.status, state: 'down', message } });
    });
  };

  return {
    handlers,
    async takeOver(signal) {
      // Twice as long as for a heartbeat: they have to find out who leads first.
      await sleep(clock, period() * GRACE * 2, signal).catch(() => undefined);
      if (signal.aborted) return;
      const silent = store
        .view((tx) => tx.list('node'))
        .filter(({ id, status }) => status.state === 'ready' && !sessions.has(id));
      for (const { id } of silent) {
        await markDown(id, 'did not register with the new leader').catch((error: unknown) =>
          logger.warn('node state', { reason: messageOf(error) }),
        );
      }
    },
    close() {
      for (const session of sessions.values())
        session.end.abort(new TsswarmError('NOT_LEADER', 'this manager no longer leads'));
    },
  };
}

/** Resolves when the managers have changed or the signal aborts. */
function changed(managers: ManagerAddresses | undefined, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stop?.();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const stop = managers?.onChange(done);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}

function registerNode(tx: WriteTransaction, { nodeId, description }: SessionRequest, now: number): void {
  const known = tx.get('node', nodeId as NodeId);
  const status = { state: 'ready' as const, message: '', address: known?.status.address ?? '' };
  if (known !== undefined) {
    const next: Node = { ...known, description, status };
    if (JSON.stringify(next) !== JSON.stringify(known)) tx.update('node', next);
    return;
  }
  tx.create('node', {
    id: nodeId as NodeId,
    meta: { version: 0, createdAt: now, updatedAt: now },
    spec: { role: 'worker', availability: 'active', labels: {} },
    description,
    status,
  });
}
