import { backoffMs, deferred, sleep } from '../../../base/async.ts';
import type { Clock, Timer } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import { jitter } from '../../../base/random.ts';
import type { Random } from '../../../base/random.ts';
import { connect } from '../../../proto/rpc/client.ts';
import type { Connection, DuplexCall } from '../../../proto/rpc/client.ts';
import type { LiveIdentity } from '../../../proto/rpc/live-identity.ts';
import { raftService } from '../../../proto/rpc/services.ts';
import { nodeCredentials } from '../../../proto/rpc/tls.ts';
import type { RaftMessage, Server } from '../types.ts';

const FIRST_RETRY_MS = 20;
const LONGEST_RETRY_MS = 500;
/** A connection that does not stand after this long, or an answer that is out for as long: another one is tried. */
const PATIENCE_MS = 2_000;
/** Bytes of one message on the stream: what follows an append waits no longer than its transfer. */
const BATCH_BYTES = 1024 * 1024;

export interface LinkOptions {
  readonly identity: LiveIdentity;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** What may wait for a peer; what is older is dropped, Raft says it again. */
export interface QueueLimits {
  readonly messages: number;
  readonly bytes: number;
}

/**
 * One stream to one peer, made anew whenever it breaks. `send` never waits.
 * @param acknowledged every batch is answered, and a stream whose answer is out for too long is given up; `onLost` is told
 */
export class Link {
  readonly #queue: { readonly message: RaftMessage; readonly bytes: number }[] = [];
  #queuedBytes = 0;
  #wake = deferred<void>();
  #life = new AbortController();
  #broken = new AbortController();
  readonly #done: Promise<void>;
  readonly #to: Server;
  readonly #options: LinkOptions;
  readonly #limits: QueueLimits;
  readonly #acknowledged: boolean;
  readonly #onLost: () => void;

  constructor(to: Server, options: LinkOptions, limits: QueueLimits, acknowledged: boolean, onLost: () => void) {
    this.#to = to;
    this.#options = options;
    this.#limits = limits;
    this.#acknowledged = acknowledged;
    this.#onLost = onLost;
    this.#done = this.#run();
  }

  send(message: RaftMessage): void {
    const bytes = sizeOf(message);
    this.#queue.push({ message, bytes });
    this.#queuedBytes += bytes;
    while (this.#queue.length > this.#limits.messages || this.#queuedBytes > this.#limits.bytes) {
      if (this.#queue.length === 1) break;
      this.#queuedBytes -= this.#queue.shift()?.bytes ?? 0;
    }
    this.#wake.resolve();
  }

  /** Gives the present stream up: whoever knows that the peer's machine is cut off says so. */
  renew(): void {
    this.#broken.abort(new Error('the peer does not answer'));
  }

  async close(): Promise<void> {
    this.#life.abort(new Error('closed'));
    this.#wake.resolve();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { clock, random, logger } = this.#options;
    const { signal } = this.#life;
    for (let failures = 0; !signal.aborted; failures++) {
      // Nobody connects before there is something to say.
      while (this.#queue.length === 0 && !signal.aborted) await this.#more();
      if (signal.aborted) return;
      this.#broken = new AbortController();
      try {
        await this.#once(AbortSignal.any([signal, this.#broken.signal]), () => (failures = 0));
      } catch (error) {
        if (signal.aborted) return;
        logger.debug('link to a manager', { peer: this.#to.id, address: this.#to.address, reason: messageOf(error) });
      }
      this.#drop();
      const delay = jitter(random, backoffMs(failures, FIRST_RETRY_MS, LONGEST_RETRY_MS), 0.3);
      await sleep(clock, delay, signal).catch(() => undefined);
    }
  }

  /** One connection, from its first receipt to its end. */
  async #once(outer: AbortSignal, opened: () => void): Promise<void> {
    const { identity } = this.#options;
    const { id, address } = this.#to;
    const connection: Connection = connect(address, nodeCredentials(identity, { nodeId: id as NodeId }));
    const scope = new AbortController();
    const signal = AbortSignal.any([outer, scope.signal]);
    try {
      const call = connection.service(raftService).messages(signal);
      await withAbort(signal, this.#talk(call, scope, signal, opened));
    } finally {
      scope.abort(new Error('over'));
      connection.close();
    }
  }

  async #talk(
    call: DuplexCall<{ readonly messages: readonly object[]; readonly acknowledge: boolean }, object>,
    scope: AbortController,
    signal: AbortSignal,
    opened: () => void,
  ): Promise<void> {
    const { clock } = this.#options;
    let open = 1;
    let timer: Timer | undefined;
    const overdue = (): void => {
      scope.abort(new Error(`no answer for ${PATIENCE_MS} ms`));
      this.#onLost();
    };
    const arm = (): void => {
      timer?.cancel();
      timer = open === 0 ? undefined : clock.startTimer(PATIENCE_MS, overdue);
    };
    arm();
    signal.addEventListener('abort', () => this.#wake.resolve(), { once: true });
    const standing = deferred<void>();
    const receipts = (async () => {
      for await (const _ of call.output) {
        open--;
        arm();
        opened();
        standing.resolve();
      }
      throw new Error('the peer ended the stream');
    })();
    receipts.catch((error: unknown) => {
      standing.reject(error);
      scope.abort(error);
    });
    standing.promise.catch(() => undefined);
    try {
      await standing.promise;
      while (!signal.aborted) {
        const messages = this.#take();
        if (messages.length === 0) {
          await this.#more();
          continue;
        }
        if (this.#acknowledged && open++ === 0) arm();
        await call.send({ messages, acknowledge: this.#acknowledged });
      }
      signal.throwIfAborted();
    } finally {
      timer?.cancel();
      call.cancel();
      await receipts.catch(() => undefined);
    }
  }

  /** The next messages, as many as make a batch. */
  #take(): RaftMessage[] {
    let bytes = 0;
    let count = 0;
    for (const waiting of this.#queue) {
      if (count > 0 && bytes + waiting.bytes > BATCH_BYTES) break;
      bytes += waiting.bytes;
      count++;
    }
    this.#queuedBytes -= bytes;
    return this.#queue.splice(0, count).map(({ message }) => message);
  }

  #drop(): void {
    this.#queue.length = 0;
    this.#queuedBytes = 0;
  }

  /** Resolves with the next message, or when this link or its stream is given up. */
  #more(): Promise<void> {
    this.#wake = deferred();
    return this.#wake.promise;
  }
}

/** Settles as `work` does, or rejects when the signal aborts first. */
async function withAbort<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const aborted = deferred<never>();
  const stop = (): void => aborted.reject(signal.reason);
  work.catch(() => undefined);
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** Roughly what a message takes on the wire. */
function sizeOf(message: RaftMessage): number {
  if (message.kind === 'append') return message.entries.reduce((sum, { payload }) => sum + payload.length + 32, 128);
  return message.kind === 'install-snapshot' ? message.data.length + 256 : 128;
}
