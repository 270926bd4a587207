import { sleep } from '../../../base/async.ts';
import type { Clock, Timer } from '../../../base/clock.ts';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { LeadershipSource } from '../leadership.ts';
import type { EtcdClient } from './client.ts';
import { until } from './follower.ts';
import { encodeLeader } from './keys.ts';
import type { Layout } from './keys.ts';
import type { KnownLeader, Replica } from './replica.ts';

/** Share of the lease after which a leader that could not renew it stops: clocks differ in speed, and stopping takes time. */
const SAFE_SHARE = 0.8;
const RETRY_MS = 200;
/** How long one that has resigned lets others go first. */
const REST_MS = 3_000;
const ELECTION_MS = 2_000;

export interface ElectionOptions {
  readonly client: EtcdClient;
  readonly layout: Layout;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly id: string;
  readonly address: string;
  readonly leaseMs: number;
  /** Why nobody can lead now. */
  readonly trouble: NonNullable<LeadershipSource['trouble']>;
  /** Whether it may stand for election, by what the replica says now. */
  readonly mayLead: () => boolean;
  /** Brings the store in order after winning; leadership is told of when it resolves. */
  readonly takeOver: (token: number, signal: AbortSignal) => Promise<void>;
}

type Listener = Parameters<LeadershipSource['observe']>[0];

/**
 * Who leads, by a key under a lease. This one stops leading before the lease can end, by the monotonic clock from when the
 * renewal was sent; whatever it has sent by then is refused once another leads, by the key's create_revision.
 */
export class Election implements LeadershipSource {
  readonly #options: ElectionOptions;
  readonly #listeners = new Set<Listener>();
  #won: { readonly token: number; isReady: boolean } | undefined;
  #leaseEndsAt = 0;
  #told = '';
  #resign: (() => void) | undefined;
  #rests = false;

  constructor(options: ElectionOptions) {
    this.#options = options;
    options.replica.onStep(() => this.#tellLeader());
  }

  /** The fencing token while this one surely leads, ready or not. */
  get token(): number | undefined {
    return this.#won !== undefined && this.#options.clock.monotonic() < this.#leaseEndsAt ? this.#won.token : undefined;
  }

  get isReady(): boolean {
    return this.#won?.isReady === true && this.token !== undefined;
  }

  status(): ReturnType<LeadershipSource['status']> {
    const leader = this.known();
    const servers = leader === undefined ? [] : [{ id: leader.id, address: leader.address }];
    return { ready: this.isReady, leaderId: leader?.id ?? '', servers };
  }

  /** A leader that is gone holds its lease until the end; winning is some writes. */
  get electionMs(): number {
    return this.#options.leaseMs + ELECTION_MS;
  }

  /** Who leads. Itself only when it may change the store: until then nobody is known to, nor by a key of its former life. */
  known(): KnownLeader | undefined {
    const { replica, id } = this.#options;
    const { leader } = replica;
    const isReadySelf = this.isReady && leader?.token === this.#won?.token;
    return leader?.id === id && !isReadySelf ? undefined : leader;
  }

  stillLeads(): boolean {
    return this.isReady;
  }

  confirmLead(): Promise<void> {
    if (this.isReady) return Promise.resolve();
    return Promise.reject(new TsswarmError('NOT_LEADER', 'confirming the lead: the lease in etcd has run out'));
  }

  trouble(): ReturnType<NonNullable<LeadershipSource['trouble']>> {
    return this.#options.trouble();
  }

  observe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Stands for election, leads, and stands again, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { client, layout, replica, clock, logger, id, address, leaseMs } = this.#options;
    while (!signal.aborted) {
      let lease: string | undefined;
      try {
        await until(replica, () => this.#mayStand(), signal);
        await this.#dropFormerKey();
        const asked = clock.monotonic();
        const granted = await client.grantLease(leaseMs);
        lease = granted.id;
        this.#leaseEndsAt = asked + granted.ttlMs * SAFE_SHARE;
        const result = await client.transact({
          conditions: [{ key: layout.leader, createRevision: 0 }],
          operations: [{ put: layout.leader, value: encodeLeader({ id, address }), lease }],
          otherwiseRead: layout.leader,
        });
        if (result.held) await this.#lead(result.revision, lease, granted.ttlMs, signal);
        else await until(replica, () => replica.revision >= (result.read?.modRevision ?? 0), signal);
      } catch (error) {
        if (!signal.aborted) {
          logger.warn('standing for election failed, trying again', { reason: messageOf(error) });
          await sleep(clock, RETRY_MS, signal).catch(() => undefined);
        }
      }
      // Also where it is not known whether the key was written: it goes with the lease.
      if (lease !== undefined) await client.revokeLease(lease).catch(() => undefined);
      if (this.#rests && !signal.aborted) await this.#rest(signal);
    }
  }

  /**
   * Gives leadership up, so that another manager takes it. Resolves when one has.
   * @throws NOT_LEADER; UNAVAILABLE when nobody did within seconds: this one stands for election again then
   */
  async resign(): Promise<void> {
    const { replica, clock, id } = this.#options;
    if (this.#resign === undefined) throw new TsswarmError('NOT_LEADER', 'handing over: this manager does not lead');
    const patience = new AbortController();
    const timer = clock.startTimer(REST_MS, () =>
      patience.abort(new TsswarmError('UNAVAILABLE', 'handing over: no other manager took the lead')),
    );
    this.#rests = true;
    this.#resign();
    try {
      await until(replica, () => replica.leader !== undefined && replica.leader.id !== id, patience.signal);
    } finally {
      timer.cancel();
      this.#rests = false;
    }
  }

  #mayStand(): boolean {
    const { replica, id, mayLead } = this.#options;
    const isFree = replica.leader === undefined || replica.leader.id === id;
    return replica.revision >= 0 && isFree && mayLead();
  }

  /** A key of this manager's that it does not hold is of its former life: nobody has to wait for the end of that lease. */
  async #dropFormerKey(): Promise<void> {
    const { client, layout, replica, id } = this.#options;
    const former = replica.leader;
    if (former?.id !== id) return;
    await client.transact({
      conditions: [{ key: layout.leader, createRevision: former.token }],
      operations: [{ remove: layout.leader }],
      otherwiseRead: layout.leader,
    });
  }

  /** Lets another go first; nobody there: stands again after a while. */
  async #rest(signal: AbortSignal): Promise<void> {
    const { replica, clock, id } = this.#options;
    const rested = new AbortController();
    const timer = clock.startTimer(REST_MS, () => rested.abort());
    const isTaken = (): boolean => replica.leader !== undefined && replica.leader.id !== id;
    await until(replica, isTaken, AbortSignal.any([signal, rested.signal])).catch(() => undefined);
    timer.cancel();
  }

  async #lead(token: number, lease: string, ttlMs: number, outer: AbortSignal): Promise<void> {
    const { replica, clock, logger } = this.#options;
    const lost = new AbortController();
    const signal = AbortSignal.any([outer, lost.signal]);
    const lose = (reason: string): void => lost.abort(new TsswarmError('NOT_LEADER', `leading: ${reason}`));
    const won = { token, isReady: false };
    this.#won = won;
    this.#resign = () => lose('it hands over');
    let timer: Timer | undefined;
    const arm = (): void => {
      timer?.cancel();
      timer = clock.startTimer(Math.max(0, this.#leaseEndsAt - clock.monotonic()), () =>
        lose('the lease could not be renewed in time'),
      );
    };
    arm();
    const stop = replica.onStep(() => {
      if (replica.revision >= token && replica.leader?.token !== token) lose('another took over, or the lease ended');
    });
    const renewing = this.#renew(lease, ttlMs, arm, lose, signal);
    try {
      await until(replica, () => replica.revision >= token, signal);
      await this.#options.takeOver(token, signal);
      signal.throwIfAborted();
      won.isReady = true;
      logger.info('leading', { token });
      this.#tell({ kind: 'role', role: 'leader', term: token });
      this.#tellLeader();
      await until(replica, () => false, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
      logger.info('no longer leading', { token, reason: messageOf(signal.reason) });
    } finally {
      lose('it ended');
      timer?.cancel();
      stop();
      this.#won = undefined;
      this.#resign = undefined;
      if (won.isReady) this.#tell({ kind: 'role', role: 'follower', term: token });
      this.#tellLeader();
      await renewing;
    }
  }

  async #renew(
    lease: string,
    ttlMs: number,
    arm: () => void,
    lose: (reason: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { client, clock, logger } = this.#options;
    let pause = ttlMs / 4;
    while (!signal.aborted) {
      await sleep(clock, pause, signal).catch(() => undefined);
      if (signal.aborted) return;
      const sentAt = clock.monotonic();
      try {
        const left = await client.keepLease(lease);
        if (left <= 0) return lose('the lease ended');
        this.#leaseEndsAt = Math.max(this.#leaseEndsAt, sentAt + left * SAFE_SHARE);
        if (!signal.aborted) arm();
        pause = ttlMs / 4;
      } catch (error) {
        logger.warn('renewing the lease failed, trying again', { reason: messageOf(error) });
        pause = ttlMs / 20;
      }
    }
  }

  #tellLeader(): void {
    const known = this.known();
    const mark = `${known?.id ?? ''} ${known?.token ?? 0}`;
    if (mark === this.#told) return;
    this.#told = mark;
    const { id: leaderId = '', address = '', token: term = 0 } = known ?? {};
    this.#tell({ kind: 'leader', leaderId, address, isSelf: known?.id === this.#options.id, term });
  }

  #tell(event: Parameters<Listener>[0]): void {
    for (const listener of [...this.#listeners]) listener(event);
  }
}
