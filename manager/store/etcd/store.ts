import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { TsswarmError } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { Random } from '../../../base/random.ts';
import type { LeadershipSource } from '../leadership.ts';
import type { ReadTransaction, ResumableStore } from '../types.ts';
import type { EtcdClient } from './client.ts';
import { Committer } from './committer.ts';
import { Election } from './election.ts';
import { follow } from './follower.ts';
import { Layout } from './keys.ts';
import { Replica } from './replica.ts';

const RETRY_MS = 200;

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
  close(): Promise<void>;
}

/**
 * Opens the store that an external etcd cluster keeps: all managers hold a replica, one leads and writes.
 * @throws UNAVAILABLE when etcd cannot be read; CORRUPT when what is there is not a store
 */
export async function openEtcdStore(options: EtcdStoreOptions): Promise<OpenEtcdStore> {
  const { client, prefix, id, address, clock, random } = options;
  const { leaseMs = 10_000, updateTimeoutMs = 15_000, openTimeoutMs = 30_000 } = options;
  const logger = options.logger.child({ component: 'etcd' });
  const layout = new Layout(prefix);
  const replica = new Replica(layout);
  try {
    await load();
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
    takeOver: (token, signal) => committer.takeOver(token, signal),
  });
  const electing = election.run(life.signal);
  const close = async (): Promise<void> => {
    life.abort(new TsswarmError('UNAVAILABLE', 'the store is closed'));
    replica.hub.close();
    // The lease is given back: another leads at once.
    await Promise.all([following, electing]);
    client.close();
  };

  const store: ResumableStore = {
    view: (read) => read(replica.database),
    async update(write) {
      await Promise.resolve();
      if (!election.isReady) {
        const { leaderId } = election.status();
        throw new TsswarmError('NOT_LEADER', 'changing the store: this manager does not lead', {
          hint: leaderId === '' ? 'no leader is known at the moment' : `the leader is "${leaderId}"`,
        });
      }
      return committer.update(write);
    },
    viewAndWatch<R>(read: (tx: ReadTransaction) => R) {
      return { result: read(replica.database), watch: replica.hub.open() };
    },
    watchFrom: (version) => replica.hub.resume(version, replica.database.version),
  };
  return { store, leadership: election, close };

  /** The first listing, however often it takes to ask for it. */
  async function load(): Promise<void> {
    const patience = new AbortController();
    const late = sleep(clock, openTimeoutMs, patience.signal).then(() => {
      throw new TsswarmError('UNAVAILABLE', `opening the store: etcd did not answer within ${openTimeoutMs} ms`, {
        hint: 'a majority of the members of etcd must be up and reachable from here',
      });
    });
    late.catch(() => undefined);
    try {
      while (replica.revision < 0) {
        const listing = await Promise.race([client.list(prefix).catch(() => undefined), late]);
        if (listing === undefined) await Promise.race([sleep(clock, RETRY_MS), late]);
        else replica.load(listing);
      }
    } finally {
      patience.abort();
    }
  }
}
