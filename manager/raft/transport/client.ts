import { backoffMs, deferred, sleep } from '../../../base/async.ts';
import type { Clock, Timer } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import { jitter } from '../../../base/random.ts';
import type { Random } from '../../../base/random.ts';
import type { LiveIdentity } from '../../../proto/rpc/live-identity.ts';
import { raftService } from '../../../proto/rpc/services.ts';
import { openStream } from '../../../proto/rpc/stream.ts';
import type { MessageStream } from '../../../proto/rpc/stream.ts';
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
  /** Writes what waits to the stream that stands; absent: none does. */
  #write: (() => void) | undefined;
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

  send(messages: readonly RaftMessage[]): void {
    for (const message of messages) {
      const bytes = sizeOf(message);
      this.#queue.push({ message, bytes });
      this.#queuedBytes += bytes;
    }
    while (this.#queue.length > this.#limits.messages || this.#queuedBytes > this.#limits.bytes) {
      if (this.#queue.length === 1) break;
      this.#queuedBytes -= this.#queue.shift()?.bytes ?? 0;
    }
    if (this.#write === undefined) this.#wake.resolve();
    else this.#write();
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
      const reason = await this.#once(AbortSignal.any([signal, this.#broken.signal]), () => (failures = 0));
      if (signal.aborted) return;
      logger.debug('link to a manager', { peer: this.#to.id, address: this.#to.address, reason: messageOf(reason) });
      this.#drop();
      const delay = jitter(random, backoffMs(failures, FIRST_RETRY_MS, LONGEST_RETRY_MS), 0.3);
      await sleep(clock, delay, signal).catch(() => undefined);
    }
  }

  /** One connection, from its making to its end; resolves with why it ended. */
  #once(signal: AbortSignal, opened: () => void): Promise<unknown> {
    const { identity, clock } = this.#options;
    const { id, address } = this.#to;
    const over = deferred<unknown>();
    let unanswered = 1;
    let timer: Timer | undefined;
    let writing = false;
    const end = (reason: unknown): void => {
      timer?.cancel();
      this.#write = undefined;
      stream?.cancel();
      over.resolve(reason);
    };
    const arm = (): void => {
      timer?.cancel();
      timer = unanswered === 0 ? undefined : clock.startTimer(PATIENCE_MS, overdue);
    };
    const overdue = (): void => {
      end(new Error(`no answer for ${PATIENCE_MS} ms`));
      this.#onLost();
    };
    // One write at a time: what comes meanwhile goes together with the next.
    const write = (): void => {
      if (writing) return;
      const messages = this.#take();
      if (messages.length === 0) return;
      writing = true;
      if (this.#acknowledged && unanswered++ === 0) arm();
      stream?.send({ messages, acknowledge: this.#acknowledged }, () => {
        writing = false;
        if (this.#write === write) write();
      });
    };
    const receipt = (): void => {
      unanswered--;
      arm();
      opened();
      if (this.#write !== undefined) return;
      this.#write = write;
      write();
    };
    let stream: MessageStream<object> | undefined;
    try {
      const tls = nodeCredentials(identity, { nodeId: id as NodeId });
      stream = openStream(address, tls, raftService.messages, { message: receipt, end });
      arm();
    } catch (error) {
      end(error);
    }
    const aborted = (): void => end(signal.reason);
    if (signal.aborted) aborted();
    signal.addEventListener('abort', aborted, { once: true });
    return over.promise.finally(() => signal.removeEventListener('abort', aborted));
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

  /** Resolves with the next message, or when this link is given up. */
  #more(): Promise<void> {
    this.#wake = deferred();
    return this.#wake.promise;
  }
}

/** Roughly what a message takes on the wire. */
function sizeOf(message: RaftMessage): number {
  if (message.kind === 'append') return message.entries.reduce((sum, { payload }) => sum + payload.length + 32, 128);
  return message.kind === 'install-snapshot' ? message.data.length + 256 : 128;
}
