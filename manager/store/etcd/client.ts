import { Etcd3, KVClient, LeaseClient, WatchClient, isRecoverableError } from 'etcd3';
import type { ICompare, IKeyValue, IOptions, IRequestOp } from 'etcd3';
import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { isTsswarmError } from '../../../base/errors.ts';
import type { TsswarmError } from '../../../base/errors.ts';
import type { EtcdAccess } from '../../../proto/types/index.ts';
import { etcdFailure, isStaleToken } from './failures.ts';
import { identification } from './identification.ts';

/** A key as of some revision. Revisions stay below 2^53: a thousand writes a second for 285,000 years. */
export interface KeyValue {
  readonly key: string;
  readonly value: Uint8Array;
  readonly createRevision: number;
  readonly modRevision: number;
}

/** A key's change; without a value it was removed. */
export interface KeyEvent extends Omit<KeyValue, 'value'> {
  readonly value: Uint8Array | undefined;
}

/** Every key below a prefix as of one revision. */
export interface Listing {
  readonly revision: number;
  readonly keys: readonly KeyValue[];
}

/** A condition of a transaction; revision 0: the key does not exist. */
export type Condition =
  { readonly key: string; readonly createRevision: number } | { readonly key: string; readonly modRevision: number };

export type Operation =
  | { readonly put: string; readonly value: Uint8Array; readonly lease?: string }
  | { readonly remove: string }
  | { readonly removeBelow: string };

export interface Transaction {
  readonly conditions: readonly Condition[];
  readonly operations: readonly Operation[];
  /** The key to read when a condition does not hold. */
  readonly otherwiseRead: string;
}

export type TransactionResult =
  | { readonly held: true; readonly revision: number }
  | { readonly held: false; readonly revision: number; readonly read: KeyValue | undefined };

export interface WatchListener {
  /** Whole revisions, in order. */
  onEvents(events: readonly KeyEvent[]): void;
  onProgress(revision: number): void;
  /** Once; nothing comes after it. compacted: the events from there on are gone. */
  onEnd(reason: 'compacted' | 'lost', message: string): void;
}

/** What the store needs of etcd. Calls that fail may have taken effect; reads are tried on other members by themselves. */
export interface EtcdClient {
  transact(transaction: Transaction): Promise<TransactionResult>;
  /** Linearizable. */
  get(key: string): Promise<KeyValue | undefined>;
  list(prefix: string): Promise<Listing>;
  /** Everything below `prefix` from revision `from` on; returns what ends it. */
  watch(prefix: string, from: number, listener: WatchListener): () => void;
  /** @returns the lease's id and its time to live, ms */
  grantLease(ttlMs: number): Promise<{ readonly id: string; readonly ttlMs: number }>;
  /** @returns the time to live from now on, ms; 0: it has ended */
  keepLease(id: string): Promise<number>;
  revokeLease(id: string): Promise<void>;
  /** Why the last call failed; undefined: it was answered. A watch that is opened is no answer. */
  failure(): TsswarmError | undefined;
  close(): void;
}

export interface EtcdConnection
  extends Pick<EtcdAccess, 'endpoints'>, Partial<Omit<EtcdAccess, 'endpoints' | 'prefix'>> {
  /** Its wall time must be the machine's: gRPC measures deadlines by that. */
  readonly clock: Clock;
  /** For one call, ms: long enough for an election among etcd's members, short enough to ask another than one that hangs. */
  readonly callTimeoutMs?: number;
  /** Keys in one answer of a listing. */
  readonly pageSize?: number;
}

type FaultHandling = NonNullable<IOptions['faultHandling']>;

/** A call is made once: whoever retries must know what the call was. The type belongs to a package that etcd3 brings. */
const ONCE = {
  execute: (call: (context: { signal: AbortSignal }) => unknown) =>
    Promise.resolve(call({ signal: new AbortController().signal })),
} as unknown as NonNullable<FaultHandling['global']>;

/** How long a member that failed is not asked while another may be, ms. */
const LEFT_OUT_MS = 5_000;

/** Leaves members out that failed a moment ago, unless all did: etcd3 goes on to another when a call is not let through. */
function leavingOut(members: number, clock: Clock): NonNullable<FaultHandling['host']> {
  const until = new Map<string, number>();
  const isLeftOut = (host: string): boolean => (until.get(host) ?? 0) > clock.monotonic();
  return (host) =>
    ({
      async execute(call: (context: { signal: AbortSignal }) => unknown) {
        const leftOut = [...until.keys()].filter(isLeftOut).length;
        if (isLeftOut(host) && leftOut < members) throw new Error(`member "${host}" did not answer a moment ago`);
        try {
          const result = await call({ signal: new AbortController().signal });
          until.delete(host);
          return result;
        } catch (error) {
          if (isRecoverableError(error as Error)) until.set(host, clock.monotonic() + LEFT_OUT_MS);
          throw error;
        }
      },
    }) as unknown as ReturnType<NonNullable<FaultHandling['host']>>;
}

const EQUAL = 0;
const CREATE = 1;
const MOD = 2;

/** Talks to an etcd cluster (API 3.4 and later). Connects when it is first used. */
export function connectEtcd(connection: EtcdConnection): EtcdClient {
  const { endpoints, clock, callTimeoutMs = 3_000, pageSize = 500 } = connection;
  const etcd = new Etcd3({
    ...identification(connection),
    // A link that says nothing is found dead within 15 s; etcd refuses pings that come more often than every 5 s.
    grpcOptions: {
      'grpc.max_receive_message_length': -1,
      'grpc.keepalive_time_ms': 10_000,
      'grpc.keepalive_timeout_ms': 5_000,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
    },
    defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: clock.now() + callTimeoutMs }),
    faultHandling: { global: ONCE, host: leavingOut(endpoints.length, clock) },
  });
  // The typed calls below etcd3's own builders: those repeat calls and hide a watch's compaction.
  const { kv, lease, watch, forgetToken } = rawClients(etcd);
  let failure: TsswarmError | undefined;
  const failed = (what: string, error: unknown): TsswarmError => {
    failure = etcdFailure(what, error);
    if (isStaleToken(error)) forgetToken();
    return failure;
  };

  const answered = async <R>(what: string, send: () => Promise<R>): Promise<R> => {
    const result = await made(what, send);
    failure = undefined;
    return result;
  };
  const made = async <R>(what: string, send: () => Promise<R>): Promise<R> => {
    const patience = new AbortController();
    // The deadline is gRPC's; this is for connecting, and for streams that say nothing.
    const late = sleep(clock, callTimeoutMs + 500, patience.signal).then(() => {
      throw new Error(`no answer within ${callTimeoutMs} ms`);
    });
    late.catch(() => undefined);
    try {
      return await Promise.race([send(), late]);
    } catch (error) {
      throw failed(what, error);
    } finally {
      patience.abort();
    }
  };
  /** For calls that do no harm when made twice: another member is asked. */
  const repeatable = async <R>(what: string, send: () => Promise<R>): Promise<R> => {
    for (let attempt = 0; ; attempt++) {
      try {
        return await answered(what, send);
      } catch (error) {
        if (attempt >= 2 * endpoints.length || !isTsswarmError(error, 'UNAVAILABLE')) throw error;
        await sleep(clock, 20 * attempt);
      }
    }
  };

  return {
    async transact({ conditions, operations, otherwiseRead }) {
      const answer = await answered('writing to', () =>
        kv.txn({
          compare: conditions.map(toCompare),
          success: operations.map(toRequest),
          failure: [{ request_range: { key: Buffer.from(otherwiseRead) } }],
        }),
      );
      const revision = Number(answer.header.revision);
      if (answer.succeeded) return { held: true, revision };
      const found = answer.responses[0]?.response_range.kvs[0];
      return { held: false, revision, read: found === undefined ? undefined : toKeyValue(found) };
    },
    async get(key) {
      const { kvs } = await repeatable('reading from', () => kv.range({ key: Buffer.from(key) }));
      return kvs[0] === undefined ? undefined : toKeyValue(kvs[0]);
    },
    async list(prefix) {
      const keys: KeyValue[] = [];
      let revision = 0;
      for (let from: Buffer = Buffer.from(prefix); ;) {
        const { header, kvs, more } = await repeatable('reading from', () =>
          kv.range({ key: from, range_end: endOf(prefix), limit: pageSize, revision }),
        );
        // All pages are of the first one's revision.
        if (revision === 0) revision = Number(header.revision);
        for (const found of kvs) keys.push(toKeyValue(found));
        const last = kvs.at(-1);
        if (!more || last === undefined) return { revision, keys };
        from = Buffer.concat([last.key, Buffer.of(0)]);
      }
    },
    watch(prefix, from, listener) {
      let ended = false;
      let cancel = (): void => undefined;
      const end = (reason: 'compacted' | 'lost', message: string): void => {
        if (ended) return;
        ended = true;
        cancel();
        listener.onEnd(reason, message);
      };
      // That there is a stream says nothing of etcd: no connection is needed for it, and one without a majority takes it.
      made('watching', () => watch.watch()).then(
        (stream) => {
          cancel = () => stream.cancel();
          stream.on('error', (error) => end('lost', failed('watching', error).message));
          stream.on('end', () => end('lost', 'etcd ended the stream'));
          if (ended) return cancel();
          stream.on('data', ({ header, created, canceled, compact_revision, cancel_reason, events }) => {
            if (ended) return;
            if (canceled) {
              if (isStaleToken(new Error(cancel_reason))) forgetToken();
              return end(Number(compact_revision) > 0 ? 'compacted' : 'lost', cancel_reason);
            }
            if (events.length > 0) listener.onEvents(events.map(toEvent));
            else if (!created) listener.onProgress(Number(header.revision));
          });
          stream.write({
            create_request: {
              key: Buffer.from(prefix),
              range_end: endOf(prefix),
              start_revision: from,
              progress_notify: true,
            },
          });
        },
        (error: unknown) => end('lost', (error as Error).message),
      );
      return () => {
        ended = true;
        cancel();
      };
    },
    async grantLease(ttlMs) {
      const { ID, TTL } = await repeatable('getting a lease from', () =>
        lease.leaseGrant({ TTL: Math.ceil(ttlMs / 1000) }),
      );
      return { id: ID, ttlMs: Number(TTL) * 1000 };
    },
    keepLease(id) {
      return answered('renewing a lease at', async () => {
        const stream = await lease.leaseKeepAlive({ deadline: clock.now() + callTimeoutMs / 2 });
        try {
          return await new Promise<number>((resolve, reject) => {
            stream.on('error', reject);
            stream.on('end', () => reject(new Error('etcd ended the stream')));
            stream.on('data', ({ TTL }) => resolve(Number(TTL) * 1000));
            stream.write({ ID: id });
          });
        } finally {
          stream.on('error', () => undefined);
          stream.cancel();
        }
      });
    },
    async revokeLease(id) {
      await answered('ending a lease at', () => lease.leaseRevoke({ ID: id }));
    },
    failure: () => failure,
    close: () => etcd.close(),
  };
}

interface Pool {
  readonly authenticator: { invalidateMetadata(): void };
}

/** etcd3 keeps its pool of connections to itself; its typed calls take any. */
function rawClients(etcd: Etcd3) {
  const { pool } = etcd as unknown as { readonly pool: ConstructorParameters<typeof KVClient>[0] & Pool };
  return {
    kv: new KVClient(pool),
    lease: new LeaseClient(pool),
    watch: new WatchClient(pool),
    // It gets a new token by itself for calls, and not for streams.
    forgetToken: () => pool.authenticator.invalidateMetadata(),
  };
}

function toCompare(condition: Condition): ICompare {
  const key = Buffer.from(condition.key);
  return 'createRevision' in condition
    ? { key, result: EQUAL, target: CREATE, create_revision: condition.createRevision }
    : { key, result: EQUAL, target: MOD, mod_revision: condition.modRevision };
}

function toRequest(operation: Operation): IRequestOp {
  if ('remove' in operation) return { request_delete_range: { key: Buffer.from(operation.remove) } };
  if ('removeBelow' in operation) {
    const { removeBelow } = operation;
    return { request_delete_range: { key: Buffer.from(removeBelow), range_end: endOf(removeBelow) } };
  }
  const { put, value, lease = 0 } = operation;
  return { request_put: { key: Buffer.from(put), value: Buffer.from(value), lease } };
}

function toKeyValue({ key, value, create_revision, mod_revision }: IKeyValue): KeyValue {
  return {
    key: key.toString(),
    value,
    createRevision: Number(create_revision),
    modRevision: Number(mod_revision),
  };
}

function toEvent({ type, kv }: { readonly type: string; readonly kv: IKeyValue }): KeyEvent {
  const { value, ...rest } = toKeyValue(kv);
  // The names on the wire are in capitals, whatever the type says.
  return { ...rest, value: type.toUpperCase() === 'DELETE' ? undefined : value };
}

/** The first key after all that begin with `prefix`, which is ASCII. */
function endOf(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  const last = end.length - 1;
  end[last] = (end[last] ?? 0) + 1;
  return end;
}
