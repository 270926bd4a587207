import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { TsswarmError, isTsswarmError, messageOf } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { Random } from '../../../base/random.ts';
import type { LeadershipSource } from '../leadership.ts';
import type { ReadTransaction, ResumableStore } from '../types.ts';
import type { EtcdClient } from './client.ts';
import { Committer } from './committer.ts';
import { Election } from './election.ts';
import { ETCD_AWAY, notLeader } from './failures.ts';
import { follow, until } from './follower.ts';
import { Layout } from './keys.ts';
import type { LeaderValue } from './keys.ts';
import { Presence } from './presence.ts';
import { Replica } from './replica.ts';

const RETRY_MS = 200;
/** How long the key that says that a manager is up outlives it, ms. */
const PRESENCE_MS = 8_000;

export interface EtcdStoreOptions {
  /** Closed with the store. */
  readonly client: EtcdClient;
  /** Keys of this cluster begin with it; ASCII. */
  readonly prefix: string;
  /** This manager's id, and where the others reach it when it leads. */
  readonly id: string;
  readonly address: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Why what is stored there is not this manager's to use; undefined: it is. Nothing is written before. */
  readonly refusal?: (tx: ReadTransaction) => TsswarmError | undefined;
  /** Whether this manager may lead, where the state is its own. */
  readonly mayLead?: (tx: ReadTransaction) => boolean;
  /** Whether the store opens empty when etcd cannot be read now, and gets its state when it can. */
  readonly mayWait?: boolean;
  /** How long a leader that is gone stays leader, ms, in whole seconds; etcd takes no less than some 2 s. */
  readonly leaseMs?: number;
  /** For one update, ms. */
  readonly updateTimeoutMs?: number;
  /** For the first listing, ms. */
  readonly openTimeoutMs?: number;
}

export interface OpenEtcdStore {
  readonly store: ResumableStore;
  readonly leadership: LeadershipSource;
  /** The managers that are up, by id; of this one too. */
  readonly managers: () => ReadonlyMap<string, LeaderValue>;
  /** Tells when {@link managers} or the nodes have changed, until the returned function is called. */
  onMembership(listener: () => void): () => void;
  /** Has another manager lead. @throws NOT_LEADER, UNAVAILABLE when no other does */
  resign(): Promise<void>;
  /** The fencing token of the leader; 0: there is none. */
  token(): number;
  /** Removes everything below the prefix: the cluster is no more. @throws NOT_LEADER, UNAVAILABLE */
  wipe(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens the store that an external etcd cluster keeps: all managers hold a replica, one leads and writes.
 * @throws UNAVAILABLE when etcd cannot be read; CORRUPT when what is there is not a store
 */
export async function openEtcdStore(options: EtcdStoreOptions): Promise<OpenEtcdStore> {
  const { client, prefix, id, address, clock, random } = options;
  const { leaseMs = 6_000, updateTimeoutMs = 15_000, openTimeoutMs = 30_000 } = options;
  const logger = options.logger.child({ component: 'etcd' });
  const layout = new Layout(prefix);
  const replica = new Replica(layout);
  const refusal = (): TsswarmError | undefined => options.refusal?.(replica.database);
  const presence = new Presence({ client, layout, clock, logger, id, address, leaseMs: PRESENCE_MS });
  try {
    await load();
    const refused = refusal();
    if (replica.revision >= 0 && refused !== undefined && options.mayWait !== true) throw refused;
    // Shows whether it may write. One that may wait does not fail over that.
    if (replica.revision >= 0 && refused === undefined && options.mayWait !== true) await presence.announce();
  } catch (error) {
    client.close();
    throw error;
  }
  const life = new AbortController();
  const following = follow({ client, layout, replica, clock, random, logger }, life.signal);
  const committer: Committer = new Committer({
    client,
    layout,
    replica,
    clock,
    random,
    token: () => election.token,
    leader: () => election.known(),
    timeoutMs: updateTimeoutMs,
    signal: life.signal,
  });
  const election: Election = new Election({
    client,
    layout,
    replica,
    clock,
    logger,
    id,
    address,
    leaseMs,
    mayLead: () => refusal() === undefined && options.mayLead?.(replica.database) !== false,
    trouble() {
      const failure = client.failure();
      if (failure !== undefined) return { reason: failure.message, hint: failure.hint ?? ETCD_AWAY };
      const refused = replica.revision < 0 ? undefined : refusal();
      return refused === undefined ? undefined : { reason: refused.message, hint: refused.hint ?? '' };
    },
    takeOver: (token, signal) => committer.takeOver(token, signal),
  });
  const electing = election.run(life.signal);
  const isOwn = (): boolean => replica.revision >= 0 && refusal() === undefined;
  const present = until(replica, isOwn, life.signal).then(
    () => presence.run(life.signal),
    () => undefined,
  );
  const close = async (): Promise<void> => {
    life.abort(new TsswarmError('UNAVAILABLE', 'the store is closed'));
    replica.hub.close();
    // The lease is given back: another leads at once.
    await Promise.all([following, electing, present]);
    client.close();
  };

  const store: ResumableStore = {
    view: (read) => read(replica.database),
    async update(write) {
      await Promise.resolve();
      if (!election.isReady) throw notLeader(election.known(), client.failure());
      return committer.update(write);
    },
    viewAndWatch<R>(read: (tx: ReadTransaction) => R) {
      return { result: read(replica.database), watch: replica.hub.open() };
    },
    watchFrom: (version) => replica.hub.resume(version, replica.database.version),
  };
  return {
    store,
    leadership: election,
    managers: () => replica.managers,
    onMembership(listener) {
      let seen = replica.membership;
      return replica.onStep(() => {
        if (replica.membership === seen) return;
        seen = replica.membership;
        listener();
      });
    },
    resign: () => election.resign(),
    token: () => replica.leader?.token ?? 0,
    wipe: () => committer.wipe(),
    close,
  };

  /** The first listing, however often it takes to ask for it. @throws what etcd says, where asking again is of no use */
  async function load(): Promise<void> {
    const deadline = clock.monotonic() + openTimeoutMs;
    const patience = new AbortController();
    const late = sleep(clock, deadline - clock.monotonic(), patience.signal).then(() => 'late' as const);
    late.catch(() => undefined);
    try {
      for (let failure: unknown; replica.revision < 0;) {
        const answer = await Promise.race([client.list(prefix).catch((error: unknown) => ({ error })), late]);
        if (answer === 'late' || clock.monotonic() > deadline) {
          const reason = messageOf(failure ?? client.failure() ?? 'it does not answer');
          if (options.mayWait === true)
            return logger.warn('the store is not here yet, waiting for etcd while containers run on', { reason });
          throw new TsswarmError('UNAVAILABLE', `opening the store: ${reason}`, {
            hint: 'a majority of the members of etcd must be up and reachable from here',
          });
        }
        if (!('error' in answer)) replica.load(answer);
        else {
          failure = answer.error;
          if (!isTsswarmError(failure, 'UNAVAILABLE') && options.mayWait !== true) throw failure;
          await Promise.race([sleep(clock, RETRY_MS), late]);
        }
      }
    } finally {
      patience.abort();
    }
  }
}
