import type { Clock, Timer } from '../../base/clock.ts';
import { spanWords } from '../../base/clock-skew.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { NetworkId, NodeId, TaskId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import { sleep } from '../../base/async.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import type { dispatcherService } from '../../proto/rpc/services.ts';
import type {
  AssignmentChange,
  AssignmentSet,
  AssignmentsRequest,
  Node,
  NodeBindSources,
  NodeDescription,
  NodeOverlay,
  SessionMessage,
  SessionRequest,
  Task,
  UpdateTaskStatusRequest,
} from '../../proto/types/index.ts';
import { heartbeatMs } from '../cluster/spec.ts';
import { isChanging } from '../model/live-change.ts';
import { Leases, MISSED_HEARTBEATS, leaseFor, leaseMs, lengthOf, storedLength } from '../model/lease.ts';
import type { Decisions } from '../model/stages/decisions.ts';
import type { ReadTransaction, Store, WriteTransaction } from '../store/types.ts';
import { assignmentSet, withDraining } from './assignment-set.ts';
import { Audience } from './audience.ts';
import { BindSources, withPathsOf } from './bind-sources.ts';
import { completeChange, difference, withdraws } from './difference.ts';
import { DEFAULT_DATA_PATH_PORT } from './overlays.ts';
import { SharedSets } from './shared.ts';
import { Slices } from './slices.ts';
import { withStatus } from './status.ts';
import { Withdrawals } from './withdrawals.ts';

/** Commits that follow each other closely are sent as one difference: the first at once, what follows it this closely together. */
const GATHER_MS = 1;
/** A timer that fires so late says that this process had no time, not that a node is silent. */
const HELD_UP_MS = 100;
const CLOSELY_MS = 10;

/** Each is about 13 characters: 1,000 nodes with all of them are 6 MB in the store. */
const MOST_IMAGE_KEYS = 400;

interface Session {
  readonly id: string;
  readonly nodeId: NodeId;
  readonly end: AbortController;
  /** It says when it has taken something away. */
  readonly acknowledges: boolean;
}

export interface DispatcherOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Where managers are reached now, for the workers to keep; absent: they are told of none. */
  readonly managers?: ManagerAddresses;
  /** Resolves when nobody else led at some moment after the call, else rejects. Absent: nobody else can. */
  readonly confirmLead?: () => Promise<void>;
  /** Absent: what follows from reports is decided by the leader's loop. */
  readonly decisions?: Decisions;
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
  /** Until when each node may run what it was assigned: for who gives tasks up. */
  readonly leases: Pick<Leases, 'isOver'>;
  /** Ends all sessions, as on the loss of leadership. */
  close(): void;
}

/** Makes the dispatcher; it works as soon as its handlers are served. */
export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { store, clock, random, managers, decisions } = options;
  const logger = options.logger.child({ component: 'dispatcher' });
  const sessions = new Map<NodeId, Session>();
  /** Of every node that was heard of: it outlives a session, so that one that begins anew is no loss of the node. */
  const deadlines = new Map<NodeId, Timer>();
  const leases = new Leases();
  /** Reports of each node that are being written down. */
  const reported = new Map<NodeId, Promise<unknown>>();
  const withdrawals = new Withdrawals();
  const audience = new Audience(store, (version) => withdrawals.passed(version));
  const shared = new SharedSets();
  const bindSources = new BindSources(store);
  const slices = new Slices(clock, () => sessions.size);
  /** As the cluster says now: a change is told with the answer to the next heartbeat. */
  const period = (): number => store.view((tx) => heartbeatMs(tx.list('cluster')[0], tx.list('node').length));

  const demand = ({ sessionId, nodeId }: AssignmentsRequest): Session => {
    const session = sessions.get(nodeId as NodeId);
    if (session?.id !== sessionId) {
      throw new TsswarmError('NOT_FOUND', `using session "${sessionId}": the node has no such session`, {
        hint: 'register again',
      });
    }
    return session;
  };
  const arm = (nodeId: NodeId, wait?: number): void => {
    deadlines.get(nodeId)?.cancel();
    const silence = period() * MISSED_HEARTBEATS;
    const due = clock.monotonic() + (wait ?? silence);
    const timer = clock.startTimer(wait ?? silence, () => {
      const heldUp = clock.monotonic() - due;
      // The heartbeats of that time lie unread: a manager that was held up itself hears once more before it judges.
      if (wait === undefined && heldUp > HELD_UP_MS) return arm(nodeId, Math.min(heldUp, silence));
      deadlines.delete(nodeId);
      sessions.get(nodeId)?.end.abort(new TsswarmError('DEADLINE_EXCEEDED', 'heartbeat failure'));
      void markDown(nodeId, `heartbeat failure: silent for ${spanWords(silence)}`);
    });
    deadlines.set(nodeId, timer);
  };
  /** What else a node says than heartbeats is a sign of life, too, unless it has said goodbye: one with much to report is not silent. */
  const hear = (nodeId: NodeId): void => {
    if (deadlines.has(nodeId)) arm(nodeId);
  };
  /**
   * The lease that a node is given with the answer that is being made. What is stored of it is never less than what the node may
   * hold: the next leader goes by that.
   * @param held what the node says that it is under
   */
  const promise = (tx: ReadTransaction, nodeId: NodeId, held: number | undefined) => {
    const node = tx.get('node', nodeId);
    const length = leaseFor(node, () => tx.list('node'), period());
    const bound = Math.max(length, held === undefined ? 0 : lengthOf(held));
    const stored = node?.status.leaseMs;
    return { length, bound, isStored: stored !== undefined && lengthOf(stored) === bound };
  };

  const noteImages = async (nodeId: NodeId, keys: readonly string[]): Promise<void> => {
    const images = bounded(keys);
    if (store.view((tx) => tx.get('node', nodeId)?.images ?? []).join() === images.join()) return;
    await store.update((tx) => {
      const node = tx.get('node', nodeId);
      if (node !== undefined) tx.update('node', { ...node, images });
    });
  };

  const noteBindSources = async (nodeId: NodeId, said: NodeBindSources): Promise<void> => {
    const hear = (tx: ReadTransaction): Node | undefined => {
      const node = tx.get('node', nodeId);
      const heard = bindSources.heard(said, node?.bindSources);
      return node === undefined || JSON.stringify(node.bindSources) === JSON.stringify(heard)
        ? undefined
        : { ...node, bindSources: heard };
    };
    if (store.view(hear) === undefined) return;
    await store.update((tx) => {
      const node = hear(tx);
      if (node !== undefined) tx.update('node', node);
    });
  };

  /** Its keys: where it is reached is said at the beginning of a session. */
  const noteKeys = async (nodeId: NodeId, overlay: NodeOverlay): Promise<void> => {
    await store.update((tx) => {
      const node = tx.get('node', nodeId);
      if (node !== undefined)
        tx.update('node', { ...node, description: withPort(tx, { ...node.description, overlay }) });
    });
  };

  const handlers: Dispatcher['handlers'] = {
    async *session(request, gone) {
      const nodeId = request.nodeId as NodeId;
      sessions.get(nodeId)?.end.abort(new TsswarmError('CONFLICT', 'the node has begun another session'));
      const session: Session = {
        id: newId(random),
        nodeId,
        end: new AbortController(),
        acknowledges: request.acknowledges ?? false,
      };
      arm(nodeId);
      sessions.set(nodeId, session);
      if (session.acknowledges) withdrawals.open(session.id);
      withdrawals.returned(nodeId);
      const paths = request.bindSources;
      const { length, bound } = await store.update((tx) => {
        const promised = promise(tx, nodeId, request.leaseMs);
        const known = tx.get('node', nodeId)?.bindSources;
        const heard = paths === undefined ? {} : { bindSources: bindSources.heard(paths, known) };
        registerNode(tx, { ...request, ...heard }, storedLength(promised.bound), clock.now());
        return promised;
      });
      // What its process said before it died is known before it is told what it has: what has ended would be started once more.
      await reported.get(nodeId);
      const signal = AbortSignal.any([gone, session.end.signal]);
      try {
        const news = (): Pick<SessionMessage, 'managers' | 'bindSources'> => ({
          managers: managers?.current() ?? [],
          bindSources: bindSources.wanted(),
        });
        let said = news();
        await options.confirmLead?.();
        leases.promise(nodeId, bound, clock.monotonic());
        yield { sessionId: session.id, heartbeatMs: period(), ...said, leaseMs: storedLength(length) };
        while (!signal.aborted) {
          let now = news();
          if (JSON.stringify(now) === JSON.stringify(said)) {
            await changed([managers, bindSources], signal);
            if (signal.aborted) break;
            now = news();
          }
          if (JSON.stringify(now) === JSON.stringify(said)) continue;
          said = now;
          yield { sessionId: session.id, heartbeatMs: period(), ...said };
        }
        if (session.end.signal.aborted) throw session.end.signal.reason;
      } finally {
        session.end.abort(new TsswarmError('UNAVAILABLE', 'the session is over'));
        // The node is up until its deadline: another session may be on its way.
        if (sessions.get(nodeId) === session) {
          sessions.delete(nodeId);
          if (deadlines.has(nodeId)) withdrawals.missed(nodeId, withdrawals.networksOf(session.id), clock.now());
        }
        withdrawals.close(session.id);
      }
    },
    async heartbeat(request) {
      const session = demand(request);
      const { nodeId } = session;
      if (request.goodbye === true) {
        deadlines.get(nodeId)?.cancel();
        deadlines.delete(nodeId);
        session.end.abort(new TsswarmError('UNAVAILABLE', 'the node has said goodbye'));
        await markDown(nodeId, 'its daemon was stopped');
        return { heartbeatMs: period() };
      }
      arm(nodeId);
      const { length, bound, isStored } = store.view((tx) => promise(tx, nodeId, request.leaseMs));
      if (!isStored) await store.update((tx) => setLease(tx, nodeId, storedLength(bound)));
      if (request.images !== undefined) await noteImages(nodeId, request.images.keys);
      if (request.bindSources !== undefined) await noteBindSources(nodeId, request.bindSources);
      if (request.overlay !== undefined) await noteKeys(nodeId, request.overlay);
      // Another leader counts all leases from when it began to lead: one that was held up must not promise any after that.
      await options.confirmLead?.();
      leases.promise(nodeId, bound, clock.monotonic());
      return { heartbeatMs: period(), leaseMs: storedLength(length) };
    },
    async *assignments(request, gone) {
      const session = demand(request);
      yield* stream(session, AbortSignal.any([gone, session.end.signal]));
      if (session.end.signal.aborted) throw session.end.signal.reason;
    },
    acknowledge(request) {
      try {
        const { id, nodeId } = demand(request);
        hear(nodeId);
        withdrawals.acknowledged(id, request.sequence);
        return Promise.resolve({});
      } catch (error) {
        return Promise.reject(error as Error);
      }
    },
    async updateTaskStatus(request) {
      const { nodeId } = demand(request);
      hear(nodeId);
      const taken = takeReports(request);
      const all = Promise.allSettled([reported.get(nodeId), taken]);
      reported.set(nodeId, all);
      void all.then(() => {
        if (reported.get(nodeId) === all) reported.delete(nodeId);
      });
      await taken;
      return {};
    },
  };

  /** What a node shall know now, and the version of the store that says so. */
  const look = (tx: ReadTransaction, { nodeId, id }: Session): { set: AssignmentSet; version: number } => {
    const mustWait = (task: Task): boolean => {
      const isPublic = tx.get('service', task.serviceId)?.ports.some(({ mode }) => mode === 'ingress') ?? false;
      return withdrawals.mustWait(task, id, isPublic, clock.now());
    };
    return { set: withDraining(assignmentSet(tx, nodeId, shared), mustWait), version: tx.version };
  };

  async function* stream(session: Session, signal: AbortSignal): AsyncIterable<AssignmentChange> {
    for (let pause = slices.full(); pause !== undefined; pause = slices.full()) await pause;
    if (signal.aborted) return;
    const first = slices.spend(() => store.view((tx) => look(tx, session)));
    let sent = first.set;
    let networks: ReadonlySet<NetworkId> = new Set();
    let sequence = 0;
    let sentMs = -Infinity;
    let dirty = false;
    let freed = false;
    let wake: () => void = () => undefined;
    let limit: Timer | undefined;
    const lookAgain = (): void => {
      withdrawals.concerned(session.id);
      dirty = true;
      wake();
    };
    const stop = (): void => wake();
    const leave = audience.add({ nodeId: session.nodeId, networks: () => networks, look: lookAgain });
    signal.addEventListener('abort', stop, { once: true });
    const draining = (): readonly Task[] => sent.tasks.filter((task) => task.draining === true);
    /** Who has nothing to stop has nothing to wait for. */
    let unlisten: (() => void) | undefined;
    const listen = (): void => {
      if (draining().length === 0) {
        unlisten?.();
        unlisten = undefined;
      } else {
        unlisten ??= withdrawals.onProgress(() => {
          freed = true;
          wake();
        });
      }
    };
    const shown = (version: number, change: AssignmentChange | undefined): void => {
      networks = new Set<NetworkId>(sent.networks.map(({ id }) => id));
      listen();
      withdrawals.shown(session.id, version, networks, change?.acknowledge === true ? change.sequence : undefined);
      limit?.cancel();
      const times = draining().flatMap(({ id }) => withdrawals.limitOf(id, clock.now()) ?? []);
      if (times.length > 0) limit = clock.startTimer(Math.max(0, Math.min(...times) - clock.now()), lookAgain);
    };
    const asking = (change: AssignmentChange, asks: boolean): AssignmentChange =>
      asks && session.acknowledges ? { ...change, acknowledge: true } : change;
    try {
      const complete = asking(completeChange(sent, sequence++), true);
      shown(first.version, complete);
      yield complete;
      while (!signal.aborted) {
        if (!dirty && !freed) {
          await new Promise<void>((resolve) => (wake = resolve));
          continue;
        }
        if (clock.monotonic() - sentMs < CLOSELY_MS) await sleep(clock, GATHER_MS, signal).catch(() => undefined);
        if (freed && !dirty && !draining().some(({ id }) => withdrawals.isFree(id, clock.now()))) {
          freed = false;
          continue;
        }
        for (let pause = slices.full(); pause !== undefined; pause = slices.full()) await pause;
        if (signal.aborted) break;
        dirty = false;
        freed = false;
        const { now, found } = slices.spend(() => {
          const seen = store.view((tx) => look(tx, session));
          return { now: seen, found: difference(sent, seen.set, sequence) };
        });
        const change = found === undefined ? undefined : asking(found, withdraws(sent, found));
        for (const id of change?.remove.tasks ?? []) withdrawals.forget(id as TaskId);
        sent = now.set;
        shown(now.version, change);
        if (change === undefined) continue;
        sequence++;
        sentMs = clock.monotonic();
        yield change;
      }
    } finally {
      leave();
      signal.removeEventListener('abort', stop);
      limit?.cancel();
      unlisten?.();
    }
  }

  const takeReports = async (request: UpdateTaskStatusRequest): Promise<void> => {
    const write = (tx: WriteTransaction): boolean => {
      let settled = false;
      for (const { taskId, status } of request.updates) {
        const task = tx.get('task', taskId);
        if (task === undefined || task.nodeId !== request.nodeId) continue;
        const next = withStatus(task, status);
        if (next === undefined) continue;
        tx.update('task', next);
        const node = tx.get('node', task.nodeId as NodeId);
        const withPaths = node === undefined ? undefined : withPathsOf(node, task, next);
        if (withPaths !== undefined) tx.update('node', withPaths);
        settled ||= isChanging(task) && !isChanging(next);
      }
      for (const name of request.removedNetworks) {
        for (const network of tx.find('network', 'name', name))
          if (network.pendingDelete) tx.remove('network', network.id);
      }
      for (const name of request.removedVolumes) {
        for (const volume of tx.find('volume', 'name', name)) {
          if (!volume.pendingDelete) continue;
          // It goes when the last node that has it has said so.
          const others = (ids: readonly NodeId[] = []): readonly NodeId[] =>
            ids.filter((id) => id !== request.nodeId && tx.get('node', id) !== undefined);
          const [nodeIds, assignedTo] = [others(volume.nodeIds), others(volume.assignedTo)];
          if (nodeIds.length + assignedTo.length === 0) tx.remove('volume', volume.id);
          else tx.update('volume', { ...volume, nodeIds, assignedTo });
        }
      }
      return settled;
    };
    // The next container of an update is changed with the same write to the disks that ends the change of this one.
    await (decisions === undefined ? store.update(write) : decisions.update(store, write, (settled) => settled));
  };

  const markDown = async (nodeId: NodeId, message: string): Promise<void> => {
    logger.warn('node down', { nodeId, reason: message });
    try {
      await store.update((tx) => {
        const node = tx.get('node', nodeId);
        // Heard of again while others were being marked, or while the transaction waited: it is up.
        if (node === undefined || deadlines.has(nodeId)) return;
        tx.update('node', { ...node, status: { ...node.status, state: 'down', message } });
      });
    } catch (error) {
      // Who leads next finds it out for itself.
      logger.warn('node state', { nodeId, reason: messageOf(error) });
    }
    withdrawals.returned(nodeId);
  };

  /** Nodes that were another leader's lead to what they were told by that one until they hear of this one. */
  const waitForThe = (nodes: readonly Node[]): void =>
    store.view((tx) => {
      for (const { id } of nodes) {
        const tasks = tx.find('task', 'node', id);
        const networks = tasks.flatMap(({ addresses }) => addresses.map(({ networkId }) => networkId));
        withdrawals.missed(id, new Set(networks), clock.now());
      }
    });

  return {
    handlers,
    leases,
    async takeOver(signal) {
      leases.begin(
        store.view((tx) => tx.list('node')),
        leaseMs(period()),
        clock.monotonic(),
      );
      waitForThe(
        store.view((tx) => tx.list('node')).filter(({ id, status }) => status.state === 'ready' && !sessions.has(id)),
      );
      // Twice as long as for a heartbeat: they have to find out who leads first.
      await sleep(clock, period() * MISSED_HEARTBEATS * 2, signal).catch(() => undefined);
      if (signal.aborted) return;
      const silent = store
        .view((tx) => tx.list('node'))
        .filter(({ id, status }) => status.state === 'ready' && !deadlines.has(id));
      await Promise.all(silent.map(({ id }) => markDown(id, 'did not register with the new leader')));
    },
    close() {
      for (const deadline of deadlines.values()) deadline.cancel();
      deadlines.clear();
      bindSources.close();
      for (const session of sessions.values())
        session.end.abort(new TsswarmError('NOT_LEADER', 'this manager no longer leads'));
    },
  };
}

/** Resolves when one of the sources has changed or the signal aborts. */
function changed(
  sources: readonly (Pick<ManagerAddresses, 'onChange'> | undefined)[],
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const stop of stops) stop?.();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const stops = sources.map((source) => source?.onChange(done));
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
}

/** A node has no more room in the store than this, whatever it says. */
const bounded = (keys: readonly string[]): readonly string[] => keys.slice(0, MOST_IMAGE_KEYS);

function setLease(tx: WriteTransaction, id: NodeId, lease: number): void {
  const node = tx.get('node', id);
  if (node !== undefined) tx.update('node', { ...node, status: { ...node.status, leaseMs: lease } });
}

/** Which port the overlay networks of a node use is the cluster's business. */
function withPort(tx: ReadTransaction, description: NodeDescription): NodeDescription {
  const port = tx.list('cluster')[0]?.spec.dataPathPort ?? DEFAULT_DATA_PATH_PORT;
  const { overlay } = description;
  return overlay === undefined ? description : { ...description, overlay: { ...overlay, port } };
}

function registerNode(tx: WriteTransaction, request: SessionRequest, lease: number, now: number): void {
  const { nodeId } = request;
  const known = tx.get('node', nodeId as NodeId);
  const description = withPort(tx, request.description);
  const status = { state: 'ready' as const, message: '', address: known?.status.address ?? '', leaseMs: lease };
  if (known !== undefined) {
    const images = request.images === undefined ? (known.images ?? []) : bounded(request.images.keys);
    const { bindSources: _, ...rest } = known;
    const paths = request.bindSources === undefined ? {} : { bindSources: request.bindSources };
    const next: Node = { ...rest, description, status, images, ...paths };
    if (JSON.stringify(next) !== JSON.stringify(known)) tx.update('node', next);
    return;
  }
  tx.create('node', {
    id: nodeId as NodeId,
    meta: { version: 0, createdAt: now, updatedAt: now },
    spec: { role: 'worker', availability: 'active', labels: {} },
    description,
    status,
    images: bounded(request.images?.keys ?? []),
    ...(request.bindSources === undefined ? {} : { bindSources: request.bindSources }),
  });
}
