import { TsswarmError } from '../../base/errors.ts';
import type { EtcdClient, WatchListener } from '../../manager/store/etcd/client.ts';

/** A real client of etcd whose link fails as a test says. */
export interface FailingEtcd extends EtcdClient {
  /** Leases that were granted through it. */
  readonly leases: readonly string[];
  /** Calls to `transact` so far. */
  readonly transactions: number;
  /** At that call of `transact` from now on (0: the next), the link fails once: before it is sent, or before its answer comes. */
  failAt(call: number, when: 'unsent' | 'unanswered', crash?: boolean): void;
  /** Ends the watch and lets none begin until the returned function is called. */
  holdWatch(): () => void;
  /** From now on every call fails and nothing is heard, as if the process had been killed. */
  crash(): void;
  /** Resolves when it has crashed. */
  readonly crashed: Promise<void>;
}

/** Puts `client` behind a link that can fail. */
export function failingEtcd(client: EtcdClient): FailingEtcd {
  const leases: string[] = [];
  let transactions = 0;
  let plan: { at: number; when: 'unsent' | 'unanswered'; crash: boolean } | undefined;
  let crashed = false;
  const gone = Promise.withResolvers<void>();
  let held = false;
  const open = new Set<() => void>();
  const lost = (): TsswarmError => new TsswarmError('UNAVAILABLE', 'calling etcd: the link is cut');
  const alive = (): void => {
    if (crashed) throw lost();
  };
  const endWatches = (): void => {
    for (const end of [...open]) end();
  };
  const crash = (): void => {
    crashed = true;
    gone.resolve();
    endWatches();
  };
  return {
    leases,
    get transactions() {
      return transactions;
    },
    failAt(call, when, isCrash = false) {
      plan = { at: transactions + call, when, crash: isCrash };
    },
    holdWatch() {
      held = true;
      endWatches();
      return () => {
        held = false;
      };
    },
    crash,
    crashed: gone.promise,
    async transact(transaction) {
      alive();
      const now = plan?.at === transactions++ ? plan : undefined;
      if (now?.when === 'unsent') {
        if (now.crash) crash();
        throw lost();
      }
      const result = await client.transact(transaction);
      if (now !== undefined) {
        if (now.crash) crash();
        throw lost();
      }
      alive();
      return result;
    },
    async get(key) {
      alive();
      return client.get(key);
    },
    async list(prefix) {
      alive();
      if (held) throw lost();
      return client.list(prefix);
    },
    watch(prefix, from, listener: WatchListener) {
      let cancel = (): void => undefined;
      const end = (): void => {
        if (!open.delete(end)) return;
        cancel();
        listener.onEnd('lost', 'the link is cut');
      };
      open.add(end);
      if (crashed || held) {
        queueMicrotask(end);
        return () => void open.delete(end);
      }
      cancel = client.watch(prefix, from, {
        ...listener,
        onEvents: (events) => open.has(end) && listener.onEvents(events),
        onProgress: (revision) => open.has(end) && listener.onProgress(revision),
        onEnd(reason, message) {
          if (open.delete(end)) listener.onEnd(reason, message);
        },
      });
      return () => {
        open.delete(end);
        cancel();
      };
    },
    async grantLease(ttlMs) {
      alive();
      const lease = await client.grantLease(ttlMs);
      leases.push(lease.id);
      return lease;
    },
    async keepLease(id) {
      alive();
      return client.keepLease(id);
    },
    async revokeLease(id) {
      alive();
      return client.revokeLease(id);
    },
    failure: () => (crashed ? lost() : client.failure()),
    close: () => client.close(),
  };
}
