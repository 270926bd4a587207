import type { NetworkId, NodeId, TaskId } from '../../base/ids.ts';
import type { Task } from '../../proto/types/index.ts';
import { goingAddresses, heldAddresses } from '../model/task-addresses.ts';

/**
 * A node that does not say within this time that it leads nobody to a task any more is waited for no longer. One that is gone is taken for
 * down before; this is for those that are there and have too much to do, or look for the present leader.
 */
export const WITHDRAWAL_LIMIT_MS = 10_000;

/** How far a node has come with what it was told. */
interface Progress {
  /** Store version up to which nothing that was taken away is left on the node; -1: it has not said anything yet. */
  settled: number;
  /** Messages that take something away and are not acknowledged, the oldest first, each with what follows from it. */
  readonly pending: { readonly sequence: number; version: number }[];
  /** Networks whose names it knows. */
  networks: ReadonlySet<NetworkId>;
  /** Something concerns it that it has not been shown. */
  behind: boolean;
}

/** A task that shall be stopped, or leave networks. */
interface Leaving {
  /** Version of the spec for which it leaves networks; undefined: it shall be stopped. */
  readonly change: number | undefined;
  /** Store version that says so. */
  readonly version: number;
  /** Wall time, ms. */
  readonly since: number;
  /** Session of its node: what that one is told it does in its order. */
  readonly own: string;
  readonly networks: readonly NetworkId[];
  /** Its service has ports on every node. */
  readonly isPublic: boolean;
}

/**
 * Tells when a task may be stopped: no other node leads anybody to it any more. Nodes acknowledge the messages that take names and
 * backends away; what is known of a node is one version of the store, however many tasks there are.
 */
export class Withdrawals {
  readonly #sessions = new Map<string, Progress>();
  readonly #leaving = new Map<TaskId, Leaving>();
  readonly #listeners = new Set<() => void>();
  /** Nodes that are taken for up but have no session: what they lead to they lead to still. */
  readonly #absent = new Map<NodeId, { readonly networks: ReadonlySet<NetworkId>; readonly until: number }>();
  /** Version up to which everybody was told what concerns it. */
  #passed = -1;

  /** A session of a node that acknowledges; whatever an earlier life left on the node is there until it says otherwise. */
  open(session: string): void {
    this.#sessions.set(session, { settled: -1, pending: [], networks: new Set(), behind: false });
  }

  /** The session is over; whether the node is waited for is said by `missed` and `returned`. */
  close(session: string): void {
    if (!this.#sessions.delete(session)) return;
    if (this.#sessions.size === 0) this.#leaving.clear();
    this.#tell();
  }

  /** Networks whose names the node of a session knows. */
  networksOf(session: string): ReadonlySet<NetworkId> {
    return this.#sessions.get(session)?.networks ?? new Set();
  }

  /**
   * A node that leads somebody to tasks on these networks has no session, and nobody says that it is down: its daemon is started again, or it has
   * not found the present leader yet. Its word is waited for as long as that of others.
   */
  missed(node: NodeId, networks: ReadonlySet<NetworkId>, now: number): void {
    this.#absent.set(node, { networks, until: now + WITHDRAWAL_LIMIT_MS });
  }

  /** It has a session again, or is down. */
  returned(node: NodeId): void {
    if (this.#absent.delete(node)) this.#tell();
  }

  /**
   * A node's assignments were put together.
   * @param version of the store that they show
   * @param sequence of the message that asks for an acknowledgement; undefined: nothing was taken away
   */
  shown(session: string, version: number, networks: ReadonlySet<NetworkId>, sequence: number | undefined): void {
    const progress = this.#sessions.get(session);
    if (progress === undefined) return;
    progress.networks = networks;
    progress.behind = false;
    const last = progress.pending.at(-1);
    if (sequence !== undefined) progress.pending.push({ sequence, version });
    else if (last !== undefined) last.version = version;
    else {
      // Nothing was ever taken away from a node that has not taken over its first message.
      if (progress.settled >= 0) progress.settled = version;
      this.#tell();
    }
  }

  /** Something came that concerns a node; it is shown to it soon. */
  concerned(session: string): void {
    const progress = this.#sessions.get(session);
    if (progress !== undefined) progress.behind = true;
  }

  /** What came up to a version did not concern the nodes that were not told. */
  passed(version: number): void {
    this.#passed = version;
    if (this.#leaving.size > 0) this.#tell();
  }

  /** The node has made everything up to and with a message true. */
  acknowledged(session: string, sequence: number): void {
    const progress = this.#sessions.get(session);
    if (progress === undefined) return;
    for (
      let [first] = progress.pending;
      first !== undefined && first.sequence <= sequence;
      [first] = progress.pending
    ) {
      progress.settled = first.version;
      progress.pending.shift();
    }
    this.#tell();
  }

  /**
   * Whether a task that is no longer wanted must not be stopped yet, or one that leaves networks must not leave them.
   * @param own session of the task's node
   * @param isPublic its service has ports on every node
   */
  mustWait(task: Task, own: string, isPublic: boolean, now: number): boolean {
    const isWanted = task.desiredState === 'running' || task.desiredState === 'ready';
    const change = isWanted ? task.specVersion : undefined;
    const last = this.#leaving.get(task.id);
    const known = last?.change === change ? last : undefined;
    const going = isWanted ? goingAddresses(task) : heldAddresses(task);
    const networks = known?.networks ?? going.map(({ networkId }) => networkId);
    const { version, since } = known ?? { version: task.meta.version, since: now };
    this.#leaving.set(task.id, { change, version, since, own, networks, isPublic });
    return !this.isFree(task.id, now);
  }

  /** Whether nobody is waited for before the task is stopped. */
  isFree(id: TaskId, now: number): boolean {
    const task = this.#leaving.get(id);
    if (task === undefined || now >= task.since + WITHDRAWAL_LIMIT_MS) return true;
    for (const [session, progress] of this.#sessions) {
      const { networks } = progress;
      const settled = this.#settled(progress);
      if (session === task.own || settled >= task.version) continue;
      if (task.isPublic || settled < 0 || task.networks.some((network) => networks.has(network))) return false;
    }
    for (const { networks, until } of this.#absent.values())
      if (now < until && (task.isPublic || task.networks.some((network) => networks.has(network)))) return false;
    return true;
  }

  /** When to look again at a task that waits, at the latest, wall time, ms: somebody is not waited for any more. */
  limitOf(id: TaskId, now: number): number | undefined {
    const leaving = this.#leaving.get(id);
    if (leaving === undefined) return undefined;
    const ends = [...this.#absent.values()].map(({ until }) => until).filter((until) => until > now);
    return Math.min(leaving.since + WITHDRAWAL_LIMIT_MS, ...ends);
  }

  /** Nobody waits for the task any more. */
  forget(id: TaskId): void {
    this.#leaving.delete(id);
  }

  /** Calls `listener` whenever a task may have become free to stop, until the returned function is called. */
  onProgress(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #settled({ settled, pending, behind }: Progress): number {
    const isCurrent = settled >= 0 && !behind && pending.length === 0;
    return isCurrent ? Math.max(settled, this.#passed) : settled;
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
