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

export interface ElectionOptions {
  readonly client: EtcdClient;
  readonly layout: Layout;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly id: string;
  readonly address: string;
  readonly leaseMs: number;
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
    const leader = this.#known();
    const servers = leader === undefined ? [] : [{ id: leader.id, address: leader.address }];
    return { ready: this.isReady, leaderId: leader?.id ?? '', servers };
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
        await until(replica, () => replica.revision >= 0 && replica.leader === undefined, signal);
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
    }
  }

  async #lead(token: number, lease: string, ttlMs: number, outer: AbortSignal): Promise<void> {
    const { replica, clock, logger } = this.#options;
    const lost = new AbortController();
    const signal = AbortSignal.any([outer, lost.signal]);
    const lose = (reason: string): void => lost.abort(new TsswarmError('NOT_LEADER', `leading: ${reason}`));
    const won = { token, isReady: false };
    this.#won = won;
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

  /** Who leads. Itself only when it may change the store: until then nobody is known to, nor by a key of its former life. */
  #known(): KnownLeader | undefined {
    const { replica, id } = this.#options;
    const { leader } = replica;
    const isReadySelf = this.isReady && leader?.token === this.#won?.token;
    return leader?.id === id && !isReadySelf ? undefined : leader;
  }

  #tellLeader(): void {
    const known = this.#known();
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
