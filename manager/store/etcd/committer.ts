import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import type { Random } from '../../../base/random.ts';
import { storeEntryCodec } from '../../../proto/codec/store.ts';
import { MAX_TRANSACTION_BYTES, toWire } from '../entry.ts';
import type { StoreChange, WriteTransaction } from '../types.ts';
import { Batch, sizeOf } from './batch.ts';
import type { BatchEncoding, BatchLimits, Update } from './batch.ts';
import type { Condition, EtcdClient, Operation, Transaction } from './client.ts';
import { ETCD_AWAY, isUnsent, notLeader, outcomeUnknown } from './failures.ts';
import { until } from './follower.ts';
import { encodeHead, encodeObject } from './keys.ts';
import type { Head, Layout } from './keys.ts';
import type { KnownLeader, Replica } from './replica.ts';

/** etcd takes 128 operations and 1.5 MiB in a transaction where it was not told otherwise; a request also has an envelope. */
const MAX_OPERATIONS = 120;
const MAX_REQUEST_BYTES = 1024 * 1024;
/** What one transaction takes beside the head. */
const LIMITS: BatchLimits = { operations: MAX_OPERATIONS - 1, bytes: MAX_REQUEST_BYTES };
/** Updates in one commit: with all of them made one on top of the other, few enough to be no stall. */
const LARGEST_BATCH = 64;
const RETRY_MS = 50;
export interface CommitterOptions {
  readonly client: EtcdClient;
  readonly layout: Layout;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly random: Random;
  /** The fencing token, while this one leads. */
  readonly token: () => number | undefined;
  /** Who can be asked for changes now. */
  readonly leader: () => KnownLeader | undefined;
  /** For one update, with everything that is tried again, ms. */
  readonly timeoutMs: number;
  /** Aborts when the store is closed: whoever waits then is told. */
  readonly signal: AbortSignal;
}

/**
 * Writes commits to etcd, one after another; updates that wait meanwhile make up the next one. Every write is conditional on the leader's key (nobody else leads) and on the
 * head (nothing was committed since what the writer saw), which all commits move: so a transaction holds on exactly the state
 * that it read, unique names included, as if every object that it read were compared.
 */
export class Committer {
  readonly #options: CommitterOptions;
  #queue: Promise<unknown> = Promise.resolve();
  readonly #waiting: Update[] = [];
  /** Something may be under way or left over: the head must be moved before the next commit. */
  #isUnsettled = true;

  readonly #encoding: BatchEncoding = {
    operation: (change) => this.#write(change, 0),
    entry: (changes) => {
      const entry = storeEntryCodec.encode({ time: this.#options.clock.now(), changes: changes.map(toWire) });
      if (entry.length <= MAX_TRANSACTION_BYTES) return entry;
      throw tooLarge(`a transaction of ${entry.length} bytes`, MAX_TRANSACTION_BYTES);
    },
  };

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /** @throws as Store.update */
  update<R>(write: (tx: WriteTransaction) => R): Promise<R> {
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    this.#waiting.push({ write, resolve: resolve as (result: unknown) => void, reject });
    // Whoever comes while a commit is under way goes with the next one.
    if (this.#waiting.length === 1) this.#commitSoon();
    return promise;
  }

  /** Finishes what an earlier leader left half done. */
  takeOver(token: number, signal: AbortSignal): Promise<void> {
    return this.#inTurn(async () => {
      this.#isUnsettled = true;
      await this.#settle(token, signal);
    });
  }

  /** Removes everything below the prefix. @throws NOT_LEADER, UNAVAILABLE */
  wipe(): Promise<void> {
    return this.#inTurn(async () => {
      const { client, layout, token } = this.#options;
      const fence = token();
      if (fence === undefined) throw this.#doesNotLead();
      const conditions: readonly Condition[] = [{ key: layout.leader, createRevision: fence }];
      const operations: readonly Operation[] = [{ removeBelow: layout.prefix }];
      const { held } = await client.transact({ conditions, operations, otherwiseRead: layout.leader });
      if (!held) throw this.#isFenced();
    });
  }

  #doesNotLead(): TsswarmError {
    return notLeader(this.#options.leader(), this.#options.client.failure());
  }

  /** etcd has answered that another leads, or none. */
  #isFenced(): TsswarmError {
    return notLeader(this.#options.leader(), undefined);
  }

  #inTurn<R>(work: () => Promise<R>): Promise<R> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }

  #commitSoon(): void {
    void this.#inTurn(async () => {
      const updates = this.#waiting.splice(0, LARGEST_BATCH);
      if (updates.length > 0) this.#waiting.unshift(...(await this.#commit(updates)));
      if (this.#waiting.length > 0) this.#commitSoon();
    });
  }

  /** Commits as many of the updates as fit, and tells them, also of failure. @returns those that did not fit */
  async #commit(updates: readonly Update[]): Promise<readonly Update[]> {
    const { clock, replica, random, timeoutMs, token } = this.#options;
    const patience = new AbortController();
    const onClose = (): void => patience.abort(this.#options.signal.reason);
    if (this.#options.signal.aborted) onClose();
    this.#options.signal.addEventListener('abort', onClose, { once: true });
    const timer = clock.startTimer(timeoutMs, () =>
      patience.abort(
        new TsswarmError('UNAVAILABLE', `changing the store: etcd did not take it within ${timeoutMs} ms`, {
          hint: ETCD_AWAY,
        }),
      ),
    );
    /** The transaction that may have been committed. */
    let open: { readonly id: string; readonly batch: Batch; readonly rest: readonly Update[] } | undefined;
    try {
      for (;;) {
        const fence = token();
        if (fence === undefined) throw this.#doesNotLead();
        try {
          await this.#settle(fence, patience.signal);
        } catch (error) {
          if (isTsswarmError(error, 'NOT_LEADER') || patience.signal.aborted) throw error;
          await sleep(clock, RETRY_MS, patience.signal);
          continue;
        }
        // The head has moved since: what is not in it by now never will be.
        if (open !== undefined && replica.head?.transaction === open.id) {
          open.batch.answer();
          return open.rest;
        }
        open = undefined;
        const batch = new Batch(replica.database, this.#encoding, LIMITS);
        const first = updates.findIndex((update) => !batch.add(update, clock.now()));
        const rest = first < 0 ? [] : updates.slice(first);
        if (batch.operations.length === 0) {
          batch.answer();
          return rest;
        }
        const id = Buffer.from(random.bytes(12)).toString('hex');
        const steps = this.#plan(id, batch);
        open = { id, batch, rest };
        this.#isUnsettled = true;
        let revision: number | undefined;
        try {
          revision = await this.#send(fence, steps);
          // Refused, so surely not there.
          if (revision === undefined) open = undefined;
        } catch (error) {
          if (!isTsswarmError(error, 'UNAVAILABLE')) {
            open = undefined;
            throw error;
          }
          if (isUnsent(error)) open = undefined;
        }
        if (revision === undefined) {
          await sleep(clock, RETRY_MS, patience.signal);
          continue;
        }
        const committed = revision;
        await until(replica, () => replica.revision >= committed, patience.signal);
        this.#isUnsettled = false;
        // The rest is no longer the caller's: the next commit waits for it.
        if (replica.head?.kind === 'staged') this.#finishSoon();
        batch.answer();
        return rest;
      }
    } catch (error) {
      const { rest } = open ?? { rest: [] };
      const failure = open === undefined ? error : outcomeUnknown(error);
      for (const { reject } of updates.slice(0, updates.length - rest.length)) reject(failure);
      return rest;
    } finally {
      timer.cancel();
      this.#options.signal.removeEventListener('abort', onClose);
    }
  }

  /** The transactions that make up a commit; the last one is the one that counts. */
  #plan(id: string, { operations, whole }: Batch): readonly (readonly Operation[])[] {
    const { layout } = this.#options;
    const { head } = layout;
    if (whole === undefined) {
      const commit: Head = { kind: 'commit', transaction: id, version: 0, pieces: 0 };
      return [[{ put: head, value: encodeHead(commit) }, ...operations]];
    }
    const steps: Operation[][] = [];
    for (let at = 0; at < whole.length; at += MAX_REQUEST_BYTES)
      steps.push([{ put: layout.stage(id, steps.length), value: whole.subarray(at, at + MAX_REQUEST_BYTES) }]);
    const staged: Head = { kind: 'staged', transaction: id, version: 0, pieces: steps.length };
    return [...steps, [{ put: head, value: encodeHead(staged) }]];
  }

  #write(change: StoreChange, version: number): Operation {
    const key = this.#options.layout.object(change.table, change.id);
    if (change.after === undefined) return { remove: key };
    const value = encodeObject(change.table, change.after, version);
    if (value.length > MAX_REQUEST_BYTES) throw tooLarge(`${change.table} "${change.id}"`, MAX_REQUEST_BYTES);
    return { put: key, value };
  }

  /** @returns the revision of the last step; undefined when the head was moved meanwhile. @throws NOT_LEADER */
  async #send(token: number, steps: readonly (readonly Operation[])[]): Promise<number | undefined> {
    let revision: number | undefined;
    for (const operations of steps) {
      revision = await this.#transact(token, operations);
      if (revision === undefined) return undefined;
    }
    return revision;
  }

  async #transact(token: number, operations: readonly Operation[]): Promise<number | undefined> {
    const { client, layout, replica } = this.#options;
    const conditions: readonly Condition[] = [
      { key: layout.leader, createRevision: token },
      { key: layout.head, modRevision: replica.headRevision },
    ];
    const transaction: Transaction = { conditions, operations, otherwiseRead: layout.leader };
    const result = await client.transact(transaction);
    if (result.held) return result.revision;
    if (result.read?.createRevision !== token) throw this.#isFenced();
    return undefined;
  }

  /**
   * Writes a staged commit to the objects' keys, removes pieces that nothing names, and moves the head: a write that is still
   * on its way is refused from then on.
   */
  async #settle(token: number, signal: AbortSignal): Promise<void> {
    const { client, layout, replica } = this.#options;
    while (this.#isUnsettled || replica.head?.kind === 'staged') {
      signal.throwIfAborted();
      const there = await client.get(layout.head);
      const target = there?.modRevision ?? 0;
      await until(replica, () => replica.headRevision >= target, signal);
      if (replica.headRevision !== target) continue;
      const version = replica.database.version;
      const steps: Operation[][] = [];
      if (replica.head?.kind === 'staged')
        steps.push(...batches(replica.staged.map((one) => this.#write(one, version))));
      const transaction = replica.head?.transaction ?? '';
      const settled: Head = { kind: 'settled', transaction, version, pieces: 0 };
      steps.push([{ put: layout.head, value: encodeHead(settled) }, { removeBelow: layout.stages }]);
      const revision = await this.#send(token, steps);
      if (revision === undefined) continue;
      await until(replica, () => replica.revision >= revision, signal);
      this.#isUnsettled = false;
    }
  }

  #finishSoon(): void {
    const { token, clock, timeoutMs, signal } = this.#options;
    const patience = new AbortController();
    void this.#inTurn(async () => {
      const fence = token();
      if (fence === undefined) return;
      const timer = clock.startTimer(timeoutMs, () => patience.abort(new Error('too late')));
      await this.#settle(fence, AbortSignal.any([patience.signal, signal])).finally(() => timer.cancel());
      // Failed: the next commit, or the next leader, does it.
    }).catch(() => undefined);
  }
}

function batches(writes: readonly Operation[]): Operation[][] {
  const all: Operation[][] = [];
  let batch: Operation[] = [];
  let bytes = 0;
  for (const write of writes) {
    const size = sizeOf(write);
    if (batch.length > 0 && (batch.length >= MAX_OPERATIONS || bytes + size > MAX_REQUEST_BYTES)) {
      all.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push(write);
    bytes += size;
  }
  if (batch.length > 0) all.push(batch);
  return all;
}

function tooLarge(what: string, most: number): TsswarmError {
  return new TsswarmError('TOO_LARGE', `storing ${what}: at most ${most} bytes are allowed`, {
    hint: 'split the project, or keep large files in volumes instead of secrets and configs',
  });
}
