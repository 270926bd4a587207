import { deferred, sleep } from '../../base/async.ts';
import type { Deferred } from '../../base/async.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { TsswarmError, isTsswarmError, messageOf } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import { Applier } from './applier.ts';
import { createCore, flush, nextDeadline, step } from './core/core.ts';
import { holdsLease } from './core/lease.ts';
import { CORE_DEFAULTS, servers } from './core/state.ts';
import type { Core, CoreConfig, MembershipChange, RaftEffect, RaftInput } from './core/state.ts';
import { DiskQueue } from './disk-queue.ts';
import type { LogStore } from './log/types.ts';
import { restore } from './restore.ts';
import type { Bootstrap } from './restore.ts';
import type { Snapshot, SnapshotStore } from './snapshot/disk.ts';
import type {
  Entry,
  Raft,
  RaftMessage,
  RaftObservation,
  RaftStatus,
  Server,
  ServerId,
  SnapshotMeta,
  Transport,
} from './types.ts';
import { unknownOutcome } from './unknown-outcome.ts';

export type { Raft, RaftStatus } from './types.ts';

/** What the log drives. Applying must be deterministic: time and randomness travel in the entry. */
export interface StateMachine {
  /** Called for every committed entry, those of Raft itself too. */
  apply(entry: Entry): void;
  /** The state as of now, though it is read later, piece by piece, while entries are applied. */
  snapshot(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  /** Nothing is applied until it is done; it should let others have their turn meanwhile. */
  restore(snapshot: Snapshot): void | Promise<void>;
}

export interface RaftOptions extends Partial<Omit<CoreConfig, 'id' | 'address'>> {
  readonly id: ServerId;
  /** Where the others reach this server; "" without a transport. */
  readonly address?: string;
  readonly log: LogStore;
  readonly snapshots: SnapshotStore;
  readonly machine: StateMachine;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** None: one member only. */
  readonly transport?: Transport;
  /** What an empty disk begins with; default: a cluster of this server alone. */
  readonly bootstrap?: Bootstrap;
  /** The quorum is lost for good: go on alone with everything that is in the log. */
  readonly forceNewCluster?: boolean;
  /** Entries after which a snapshot is taken, and entries kept behind it. */
  readonly snapshotEvery: number | (() => number);
  readonly trailing: number;
  /** Bytes of a snapshot in one message; default 1 MiB. */
  readonly snapshotChunkBytes?: number;
  /** How long a new voter may take to catch up, ms; default 30 s. */
  readonly promotionTimeoutMs?: number;
  /** The disk failed: nothing can be promised any more, the process has to end. */
  readonly onFatal: (error: Error) => void;
}

/**
 * Restores the state machine from snapshot and log, and takes part. With one member it resolves when it leads and everything
 * is applied; with several, at once.
 * @throws CORRUPT
 */
export async function startRaft(options: RaftOptions): Promise<Raft> {
  const { id, log, snapshots, machine, clock, address = '' } = options;
  const self: Server = { id, address, voter: true };
  const bootstrap = options.bootstrap ?? { servers: [self] };
  const snapshot = snapshots.latest();
  const restored = await restore(log, snapshot, self, {
    bootstrap,
    forceNewCluster: options.forceNewCluster ?? false,
  });
  if (snapshot !== undefined) await machine.restore(snapshot);
  const config: CoreConfig = { ...CORE_DEFAULTS, ...definedOf(options), id, address };
  const core = createCore(config, options.random, restored, clock.monotonic());
  if (options.transport === undefined && servers(core).some((server) => server.id !== id)) {
    throw new TsswarmError('INVALID_INPUT', 'starting Raft: the cluster has other members and there is no transport');
  }
  const driver = new Driver(core, options);
  await driver.start();
  return driver;
}

const TUNABLE = Object.keys(CORE_DEFAULTS) as (keyof typeof CORE_DEFAULTS)[];

function definedOf(options: RaftOptions): Partial<CoreConfig> {
  return Object.fromEntries(TUNABLE.flatMap((key) => (options[key] === undefined ? [] : [[key, options[key]]])));
}

/** Feeds the core with what happens and does what it says. */
class Driver implements Raft {
  readonly #core: Core;
  readonly #options: RaftOptions;
  readonly #applier: Applier;
  readonly #disk: DiskQueue;
  readonly #observers = new Set<(event: RaftObservation) => void>();
  readonly #reads = new Map<number, Deferred<void>>();
  readonly #outbox = new Map<ServerId, { readonly to: Server; readonly messages: RaftMessage[] }>();
  readonly #firstReady = deferred<void>();
  #nextRead = 1;
  #transfer: Deferred<void> | undefined;
  #timer: { readonly at: number; readonly timer: Timer } | undefined;
  #turnPending = false;
  #wasLeader = false;
  #announcedReady = false;
  #snapshotIndex: number;
  #snapshotting: Promise<void> | undefined;
  /** Somebody works on log and snapshots: no snapshot begins. */
  #maintaining = false;
  /** Chunks of a snapshot that arrives. */
  #chunks: Uint8Array[] = [];
  /** The snapshot that is sent to peers, kept while one needs it. */
  #sending: { readonly index: number; readonly loading: Promise<Snapshot | undefined> } | undefined;
  #dead: Error | undefined;
  #closed = false;

  constructor(core: Core, options: RaftOptions) {
    this.#core = core;
    this.#options = options;
    // Only a server that is alone waits for it.
    this.#firstReady.promise.catch(() => undefined);
    this.#snapshotIndex = core.snapshot?.index ?? 0;
    this.#applier = new Applier({
      log: core.log,
      clock: options.clock,
      appliedIndex: this.#snapshotIndex,
      apply: (entry) => options.machine.apply(entry),
      progressed: () => this.#progressed(),
    });
    this.#disk = new DiskQueue(options.log, {
      hardStatePersisted: (term) => this.#step({ kind: 'hard-state-persisted', term }),
      persisted: (sequence) => this.#step({ kind: 'persisted', sequence }),
      send: (to, message) => {
        // A newer term may have taken back meanwhile what an older one was to be told.
        if (message.term >= core.term) this.#post(to, message);
      },
      failed: (cause) => this.#fail(cause),
      afterTurn: (work) => void options.clock.startTimer(0, work),
    });
  }

  async start(): Promise<void> {
    const core = this.#core;
    this.#options.transport?.onMessages((messages) => {
      for (const message of messages) this.#step({ kind: 'message', message });
    });
    this.#step({ kind: 'tick' });
    const voters = servers(core).filter(({ voter }) => voter);
    if (voters.length === 1 && voters[0]?.id === core.config.id) await this.#firstReady.promise;
  }

  get nextIndex(): number {
    return this.#core.log.lastIndex + 1;
  }

  propose(payload: Uint8Array): Promise<void> {
    // A leader that has not applied all that it inherited would let its callers decide on old state.
    if (this.#core.role === 'leader' && !this.#ready()) {
      return Promise.reject(new TsswarmError('UNAVAILABLE', 'writing the log: the leader is new and still catches up'));
    }
    return this.#submit('writing the log', { kind: 'propose', payload });
  }

  readIndex(): Promise<void> {
    const refusal = this.#refusal('reading from the leader');
    if (refusal !== undefined) return Promise.reject(refusal);
    const done = deferred<void>();
    const id = this.#nextRead++;
    this.#reads.set(id, done);
    this.#step({ kind: 'read', id });
    return done.promise;
  }

  confirmLead(): Promise<void> {
    return holdsLease(this.#core, this.#options.clock.monotonic()) ? Promise.resolve() : this.readIndex();
  }

  async addServer(server: Server): Promise<void> {
    await this.#change(`adding manager "${server.id}"`, { kind: 'add', server });
    if (server.voter) await this.promoteServer(server.id);
  }

  removeServer(id: ServerId): Promise<void> {
    return this.#change(`removing manager "${id}"`, { kind: 'remove', id });
  }

  updateAddress(id: ServerId, address: string): Promise<void> {
    return this.#change(`moving manager "${id}" to "${address}"`, { kind: 'update-address', id, address });
  }

  demoteServer(id: ServerId): Promise<void> {
    return this.#change(`demoting manager "${id}"`, { kind: 'demote', id });
  }

  async promoteServer(id: ServerId): Promise<void> {
    const { clock, promotionTimeoutMs = 30_000 } = this.#options;
    const deadline = clock.monotonic() + promotionTimeoutMs;
    for (let waited = false; ; waited = true) {
      try {
        return await this.#change(`promoting manager "${id}"`, { kind: 'promote', id });
      } catch (error) {
        // Somebody else was faster while this waited.
        if (waited && isTsswarmError(error, 'ALREADY_EXISTS')) return;
        const waits = isTsswarmError(error, 'UNAVAILABLE') || isTsswarmError(error, 'CONFLICT');
        if (!waits || this.#refusal('') !== undefined || this.#core.role !== 'leader') throw error;
        if (clock.monotonic() >= deadline) {
          throw new TsswarmError('DEADLINE_EXCEEDED', messageOf(error), {
            hint: this.#bothWays(id),
          });
        }
        await sleep(clock, this.#core.config.heartbeatMs);
      }
    }
  }

  /** What to look at when a server does not catch up: what is sent to it, and its answers, go by advertised addresses. */
  #bothWays(id: ServerId): string {
    const address = servers(this.#core).find((server) => server.id === id)?.address ?? '';
    return `it stays without a vote; see that "${address}" can be reached from the leader, and the leader by "${this.#core.config.address}" from there, then try again`;
  }

  transferLeadership(to?: ServerId): Promise<void> {
    const action = 'handing leadership over';
    const refusal = this.#refusal(action);
    if (refusal !== undefined) return Promise.reject(refusal);
    const refused = this.#step({ kind: 'transfer', to }).find((effect) => effect.kind === 'refused');
    if (refused !== undefined) return Promise.reject(this.#error(action, refused.code, refused.reason));
    this.#transfer = deferred<void>();
    return this.#transfer.promise;
  }

  maintain(work: () => Promise<void>): Promise<void> {
    const refusal = this.#refusal('maintaining the log');
    if (refusal !== undefined) return Promise.reject(refusal);
    const done = deferred<void>();
    this.#disk.push({
      kind: 'run',
      work: async () => {
        this.#maintaining = true;
        try {
          await this.#snapshotting;
          await work();
          done.resolve();
        } catch (error) {
          done.reject(error);
          throw error;
        } finally {
          this.#maintaining = false;
        }
      },
    });
    return done.promise;
  }

  observe(listener: (event: RaftObservation) => void): () => void {
    this.#observers.add(listener);
    return () => void this.#observers.delete(listener);
  }

  status(): RaftStatus {
    const core = this.#core;
    const { id: selfId } = core.config;
    return {
      role: core.role,
      ready: this.#ready(),
      holdsLease: holdsLease(core, this.#options.clock.monotonic()),
      term: core.term,
      commitIndex: core.commitIndex,
      lastIndex: core.log.lastIndex,
      appliedIndex: this.#applier.appliedIndex,
      snapshotIndex: core.snapshot?.index ?? 0,
      leaderId: core.leaderId,
      servers: servers(core).map((server) => {
        const progress = core.peers.get(server.id);
        const self = server.id === selfId;
        return {
          ...server,
          matchIndex: self ? core.persistedIndex : (progress?.match ?? 0),
          lastContactMs: progress?.lastContactMs,
          reachable: self || (progress?.reachable ?? server.id === core.leaderId),
        };
      }),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.timer.cancel();
    await this.#options.transport?.close();
    await this.#disk.idle();
    await this.#snapshotting;
    this.#abandon(unknownOutcome('this manager stopped'));
    await this.#options.log.close();
  }

  #change(action: string, change: MembershipChange): Promise<void> {
    return this.#submit(action, { kind: 'change-membership', change });
  }

  /** Puts something into the log and waits until it is applied. */
  async #submit(action: string, input: RaftInput): Promise<void> {
    const refusal = this.#refusal(action);
    if (refusal !== undefined) throw refusal;
    for (const effect of this.#step(input)) {
      if (effect.kind === 'refused') throw this.#error(action, effect.code, effect.reason);
      if (effect.kind === 'accepted') return await this.#applier.proposal(effect.index, effect.term);
    }
    throw this.#dead ?? new TsswarmError('INTERNAL', `${action}: it was neither accepted nor refused`);
  }

  #refusal(action: string): TsswarmError | undefined {
    if (this.#dead !== undefined) return new TsswarmError('UNAVAILABLE', `${action}: ${this.#dead.message}`);
    if (this.#closed) return new TsswarmError('UNAVAILABLE', `${action}: this manager is stopping`);
    return undefined;
  }

  #error(action: string, code: ErrorCode, reason: string): TsswarmError {
    const { leaderId } = this.#core;
    if (code !== 'NOT_LEADER') return new TsswarmError(code, `${action}: ${reason}`);
    const address = servers(this.#core).find(({ id }) => id === leaderId)?.address ?? '';
    const hint = leaderId === '' ? 'no leader is known at the moment' : `the leader is "${leaderId}" at "${address}"`;
    return new TsswarmError(code, `${action}: ${reason}`, { hint });
  }

  /** Lets the core take an event, and does what follows. Entries for peers go out at the end of the turn. */
  #step(input: RaftInput): readonly RaftEffect[] {
    if (this.#dead !== undefined || (this.#closed && input.kind !== 'persisted')) return [];
    try {
      const effects = step(this.#core, input, this.#options.clock.monotonic());
      for (const effect of effects) this.#perform(effect);
      this.#endTurn();
      return effects;
    } catch (cause) {
      this.#fail(cause);
      return [];
    }
  }

  /** What one turn of the event loop brings, proposals of many clients above all, goes out together. */
  #endTurn(): void {
    if (this.#turnPending) return;
    this.#turnPending = true;
    this.#options.clock.startTimer(0, () => {
      this.#turnPending = false;
      if (this.#dead !== undefined || this.#closed) return;
      try {
        for (const effect of flush(this.#core, this.#options.clock.monotonic())) this.#perform(effect);
      } catch (cause) {
        return this.#fail(cause);
      }
      for (const { to, messages } of this.#outbox.values()) this.#options.transport?.send(to, messages);
      this.#outbox.clear();
      this.#armTimer();
    });
  }

  #post(to: Server, message: RaftMessage): void {
    const waiting = this.#outbox.get(to.id);
    if (waiting?.to.address === to.address) waiting.messages.push(message);
    else this.#outbox.set(to.id, { to, messages: [message] });
    this.#endTurn();
  }

  /** One timer: a deadline that moved back is found out when the timer fires, so that heartbeats do not rearm it. */
  #armTimer(): void {
    const { clock } = this.#options;
    const at = nextDeadline(this.#core);
    if (this.#timer !== undefined) {
      if (this.#timer.at <= at) return;
      this.#timer.timer.cancel();
    }
    const fire = (): void => {
      this.#timer = undefined;
      if (this.#closed || this.#dead !== undefined) return;
      const now = clock.monotonic();
      if (now < nextDeadline(this.#core)) return this.#armTimer();
      const { heartbeatMs } = this.#core.config;
      if (this.#core.role === 'leader' || heardOut || now - at < heartbeatMs / 2)
        return void this.#step({ kind: 'tick' });
      // This process was held up, and timers come before messages: what the leader said meanwhile has not been read yet.
      heardOut = true;
      this.#timer = { at, timer: clock.startTimer(heartbeatMs, fire) };
    };
    let heardOut = false;
    const wait = at - clock.monotonic();
    // Timers may fire a little early: a wait below a millisecond would be one of many.
    this.#timer = { at, timer: clock.startTimer(wait <= 0 ? 0 : Math.max(1, wait), fire) };
  }

  #perform(effect: RaftEffect): void {
    switch (effect.kind) {
      case 'save-hard-state':
        return this.#disk.push({ kind: 'hard-state', term: effect.term, votedFor: effect.votedFor });
      case 'append':
      case 'truncate':
        return this.#disk.push(effect);
      case 'send':
        if (!effect.durable) return this.#post(effect.to, effect.message);
        return this.#disk.push({ kind: 'send', to: effect.to, message: effect.message });
      case 'send-chunk':
        return void this.#sendChunk(effect.to, effect.snapshot, effect.offset, this.#core.term);
      case 'keep-chunk':
        if (effect.offset === 0) this.#chunks = [];
        this.#chunks.push(effect.data);
        return;
      case 'install-snapshot': {
        const chunks = this.#chunks;
        this.#chunks = [];
        const work = (): Promise<void> => this.#install(effect.snapshot, effect.resetLog, chunks);
        return this.#disk.push({ kind: 'run', work });
      }
      case 'commit':
        return this.#applier.commit(effect.index);
      case 'role':
        return this.#roleChanged();
      case 'read-ready':
        for (const id of effect.ids) this.#read(id, (done) => this.#applier.read(effect.index, done));
        return;
      case 'reads-lost': {
        const error = this.#error('reading from the leader', 'NOT_LEADER', 'this manager does not lead');
        for (const id of effect.ids) this.#read(id, (done) => done.reject(error));
        return;
      }
      case 'transfer-ended': {
        const waiting = this.#transfer;
        this.#transfer = undefined;
        if (effect.ok) return waiting?.resolve();
        const reason = 'it did not happen in time';
        return waiting?.reject(this.#error('handing leadership over', 'UNAVAILABLE', reason));
      }
      case 'membership': {
        const { index, servers: members } = effect.configuration;
        return this.#tell({ kind: 'membership', servers: members, index, committed: effect.committed });
      }
      case 'peer':
        this.#options.logger.info('peer', { peer: effect.id, reachable: effect.reachable });
        return this.#tell({ kind: 'peer', id: effect.id, reachable: effect.reachable });
      case 'accepted':
      case 'refused':
        return;
    }
  }

  #read(id: number, act: (done: Deferred<void>) => void): void {
    const done = this.#reads.get(id);
    this.#reads.delete(id);
    if (done !== undefined) act(done);
  }

  #roleChanged(): void {
    const { role, term, leaderId } = this.#core;
    this.#options.logger.info('role', { role, term, leader: leaderId });
    const lost = this.#wasLeader && role !== 'leader';
    this.#wasLeader = role === 'leader';
    if (lost) {
      this.#announcedReady = false;
      this.#sending = undefined;
    }
    // Observers first: whoever speculates on proposals must let go of them before their callers hear and try again.
    this.#tell({ kind: 'role', role, term });
    if (role !== 'leader') this.#tellLeader();
    if (!lost) return;
    this.#applier.abandonProposals(unknownOutcome('this manager lost the leadership'));
  }

  #tellLeader(): void {
    const { leaderId, term, config } = this.#core;
    const address = servers(this.#core).find(({ id }) => id === leaderId)?.address ?? '';
    this.#tell({ kind: 'leader', leaderId, address, isSelf: leaderId === config.id, term });
  }

  #tell(event: RaftObservation): void {
    for (const observer of this.#observers) observer(event);
  }

  #ready(): boolean {
    return this.#core.role === 'leader' && this.#applier.appliedIndex >= this.#core.termStart;
  }

  #progressed(): void {
    if (!this.#announcedReady && this.#ready()) {
      this.#announcedReady = true;
      this.#tellLeader();
      this.#firstReady.resolve();
    }
    this.#compact();
  }

  /** Takes a snapshot when enough was applied since the last; the log goes on meanwhile. */
  #compact(): void {
    const { snapshotEvery, trailing, snapshots, machine, logger } = this.#options;
    const core = this.#core;
    const index = this.#applier.appliedIndex;
    const every = typeof snapshotEvery === 'number' ? snapshotEvery : snapshotEvery();
    if (index - this.#snapshotIndex < every || this.#snapshotting !== undefined || this.#closed) return;
    if (this.#maintaining) return;
    // It must not be ahead of the own disk's log, nor of the configuration that goes with it.
    const configuration = core.configurations.findLast((known) => known.index <= index);
    const term = core.log.termAt(index);
    if (index !== core.commitIndex || core.persistedIndex < index) return;
    if (core.incoming?.installing === true || configuration === undefined || term === undefined) return;
    const meta = { index, term, configuration };
    this.#snapshotIndex = index;
    const save = async (): Promise<void> => {
      await snapshots.save(meta, machine.snapshot());
      const compactTo = index - trailing;
      this.#step({ kind: 'snapshot-taken', snapshot: meta, compactTo });
      if (compactTo >= this.#options.log.firstIndex && !this.#closed)
        this.#disk.push({ kind: 'run', work: () => this.#options.log.truncatePrefix(compactTo) });
      logger.info('snapshot', { index });
    };
    this.#snapshotting = save()
      .catch((cause: unknown) => this.#fail(cause))
      .finally(() => (this.#snapshotting = undefined));
  }

  async #install(meta: SnapshotMeta, resetLog: boolean, chunks: readonly Uint8Array[]): Promise<void> {
    const { snapshots, log, machine, logger } = this.#options;
    await snapshots.save(meta, chunks);
    // What is committed and not yet applied is in the snapshot, and is about to go from the log.
    this.#applier.hold();
    if (resetLog) await log.reset(meta.index);
    else await log.truncatePrefix(meta.index);
    await machine.restore({ ...meta, data: Buffer.concat(chunks) });
    this.#snapshotIndex = meta.index;
    logger.info('snapshot installed', { index: meta.index });
    this.#step({ kind: 'snapshot-installed' });
    this.#applier.restored(meta.index);
  }

  async #sendChunk(to: Server, meta: SnapshotMeta, offset: number, term: number): Promise<void> {
    if (this.#sending?.index !== meta.index) {
      this.#sending = { index: meta.index, loading: this.#options.snapshots.load(meta.index) };
    }
    const snapshot = await this.#sending.loading.catch(() => undefined);
    if (this.#closed || this.#dead !== undefined || this.#core.role !== 'leader' || this.#core.term !== term) return;
    if (snapshot === undefined) {
      this.#sending = undefined;
      return void this.#step({ kind: 'snapshot-unavailable', to: to.id });
    }
    const { id, address } = this.#core.config;
    const end = offset + (this.#options.snapshotChunkBytes ?? 1024 * 1024);
    const data = snapshot.data.subarray(offset, end);
    const done = end >= snapshot.data.length;
    const envelope = { term, from: id, fromAddress: address, to: to.id };
    this.#post(to, { kind: 'install-snapshot', ...envelope, snapshot: meta, offset, data, done });
  }

  #abandon(error: Error): void {
    this.#applier.abandonProposals(error);
    this.#applier.abandonReaders(error);
    for (const done of this.#reads.values()) done.reject(error);
    this.#reads.clear();
    this.#transfer?.reject(error);
    this.#transfer = undefined;
  }

  /** The disk failed, or an invariant broke: this server says and promises nothing any more. */
  #fail(cause: unknown): void {
    if (this.#dead !== undefined) return;
    this.#dead = unknownOutcome(messageOf(cause), cause);
    this.#timer?.timer.cancel();
    this.#outbox.clear();
    this.#core.role = 'follower';
    this.#core.leaderId = '';
    this.#tell({ kind: 'role', role: 'follower', term: this.#core.term });
    this.#tellLeader();
    this.#abandon(this.#dead);
    this.#firstReady.reject(this.#dead);
    this.#options.onFatal(this.#dead);
  }
}
