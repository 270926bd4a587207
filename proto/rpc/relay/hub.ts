import type { Clock } from '../../../base/clock.ts';
import { TsswarmError, isTsswarmError, messageOf } from '../../../base/errors.ts';
import { newId } from '../../../base/ids.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Random } from '../../../base/random.ts';
import { codec } from '../../codec/message.ts';
import type { RelayCall, RelayInput, RelayOutput } from '../../types/index.ts';
import type { DuplexCall, ServiceClient } from '../client.ts';
import { decodeFailure } from '../local/failure.ts';
import type { ServiceHandlers } from '../server.ts';
import type { Method, relayService } from '../services.ts';
import { InputQueue } from './input-queue.ts';
import { Interruptible } from './interruptible.ts';

type AnyMethod = Method<unknown, unknown, boolean, boolean>;

/** A node that listens begins its answer within this time, ms, or is taken for lost. */
const BEGIN_MS = 5_000;

/** A manager's side of the nodes that listen to it. */
export interface RelayHub {
  readonly handlers: ServiceHandlers<typeof relayService>;
  /** Whether the node listens here now. */
  holds(nodeId: string): boolean;
  /** The node is elsewhere, or away: whoever asks for it looks for it anew until it listens again. Calls under way go on. */
  forget(nodeId: NodeId): void;
  /** Resolves when a node begins to listen here, or `signal` aborts. */
  next(signal: AbortSignal): Promise<void>;
  /** The calls of a service at a node. They throw UNAVAILABLE while it does not listen here. */
  service<S extends Readonly<Record<string, object>>>(nodeId: string, definition: S): ServiceClient<S>;
  /** Ends every call. */
  close(): void;
}

interface Line {
  readonly ring: (call: RelayCall) => void;
  readonly end: AbortController;
}

/** Makes the hub. It keeps nothing of a call but what is on its way: who reads slowly slows the node's answer. */
export function createRelayHub({ clock, random }: { readonly clock: Clock; readonly random: Random }): RelayHub {
  const lines = new Map<string, Line>();
  const calls = new Map<string, HubCall>();
  const waiting = new Set<() => void>();

  const open = (nodeId: string, method: AnyMethod, request: unknown, signal?: AbortSignal): HubCall => {
    signal?.throwIfAborted();
    const line = lines.get(nodeId);
    if (line === undefined) throw lost(nodeId, 'it is not connected to this manager');
    const call = new HubCall(nodeId, method, signal);
    const callId = newId<never>(random) as string;
    calls.set(callId, call);
    const timer = clock.startTimer(BEGIN_MS, () => {
      // The line is dead: the node may be listening elsewhere by now.
      line.end.abort(lost(nodeId, 'it does not answer'));
      if (lines.get(nodeId) === line) lines.delete(nodeId);
      call.fail(lost(nodeId, 'it does not answer'));
    });
    void call.begun.then(() => timer.cancel());
    void call.closed.then(() => {
      timer.cancel();
      calls.delete(callId);
    });
    const bytes = method.requestStream ? new Uint8Array() : codec<object>(method.request).encode(request as object);
    line.ring({ callId, method: method.path, request: bytes });
    return call;
  };

  const bind = (nodeId: string, method: AnyMethod): unknown => {
    if (method.requestStream) return (signal?: AbortSignal) => open(nodeId, method, undefined, signal);
    if (method.responseStream) {
      return async function* (request: unknown, signal?: AbortSignal) {
        yield* open(nodeId, method, request, signal).output;
      };
    }
    return async (request: unknown, signal?: AbortSignal) => {
      for await (const answer of open(nodeId, method, request, signal).output) return answer;
      throw lost(nodeId, 'it ended the call without an answer');
    };
  };

  return {
    handlers: {
      async *listen({ nodeId }, gone) {
        lines.get(nodeId)?.end.abort(new TsswarmError('CONFLICT', 'the node listens anew'));
        const queue: RelayCall[] = [];
        let wake: () => void = () => undefined;
        const end = new AbortController();
        const line: Line = { ring: (call) => (queue.push(call), wake()), end };
        const signal = AbortSignal.any([gone, end.signal]);
        signal.addEventListener('abort', () => wake(), { once: true });
        lines.set(nodeId, line);
        for (const look of [...waiting]) look();
        try {
          yield { callId: '', method: '', request: new Uint8Array() };
          while (!signal.aborted) {
            const call = queue.shift();
            if (call === undefined) await new Promise<void>((resolve) => (wake = resolve));
            // Who does not wait any more is not called.
            else if (calls.has(call.callId)) yield call;
          }
          if (end.signal.aborted) throw end.signal.reason;
        } finally {
          if (lines.get(nodeId) === line) lines.delete(nodeId);
        }
      },
      async *answer(outputs, gone) {
        const iterator = outputs[Symbol.asyncIterator]();
        const first = await iterator.next();
        if (first.done === true) return;
        const { callId, nodeId } = first.value;
        const call = calls.get(callId);
        if (call === undefined || call.nodeId !== nodeId)
          throw new TsswarmError('NOT_FOUND', `answering call "${callId}": nobody waits for it`);
        calls.delete(callId);
        yield* call.serve(iterator, gone);
      },
      holds: ({ nodeIds }) => Promise.resolve({ nodeIds: nodeIds.filter((id) => lines.has(id)) }),
    },
    holds: (nodeId) => lines.has(nodeId),
    forget(nodeId) {
      const line = lines.get(nodeId);
      if (line === undefined) return;
      lines.delete(nodeId);
      // Should it hear this after all, it listens again.
      line.end.abort(lost(nodeId, 'its session is not here'));
    },
    next: (signal) =>
      new Promise((resolve) => {
        const done = (): void => {
          waiting.delete(done);
          signal.removeEventListener('abort', done);
          resolve();
        };
        waiting.add(done);
        signal.addEventListener('abort', done, { once: true });
        if (signal.aborted) done();
      }),
    service<S extends Readonly<Record<string, object>>>(nodeId: string, definition: S) {
      const methods = Object.entries(definition).map(([name, method]) => [name, bind(nodeId, method as AnyMethod)]);
      return Object.fromEntries(methods) as ServiceClient<S>;
    },
    close() {
      const stopping = new TsswarmError('UNAVAILABLE', 'calling a node: this manager stops');
      for (const { end } of lines.values()) end.abort(stopping);
      for (const call of calls.values()) call.fail(stopping);
    },
  };
}

/** One call, from the ring to its end: what its caller holds, and what the node's answer feeds. */
class HubCall implements DuplexCall<unknown, unknown> {
  readonly nodeId: string;
  readonly output: AsyncIterable<unknown>;
  readonly #method: AnyMethod;
  readonly #inputs = new InputQueue();
  readonly #answer = new Interruptible<RelayOutput>();
  readonly #begun = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<void>();
  readonly #signal: AbortSignal | undefined;
  readonly #abort = (): void => this.fail(this.#signal?.reason as Error);

  constructor(nodeId: string, method: AnyMethod, signal: AbortSignal | undefined) {
    this.nodeId = nodeId;
    this.#method = method;
    this.#signal = signal;
    this.output = this.#read();
    signal?.addEventListener('abort', this.#abort, { once: true });
  }

  /** Resolves when the node has begun to answer; it may never. */
  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  async send(message: unknown): Promise<void> {
    const bytes = codec<object>(this.#method.request).encode(message as object);
    const taken = await this.#inputs.push({ message: bytes, end: false });
    if (!taken) throw new TsswarmError('CANCELLED', 'sending a message: the stream has ended');
  }

  end(): void {
    void this.#inputs.push({ end: true });
  }

  cancel(): void {
    this.fail(new TsswarmError('CANCELLED', 'reading a stream: it was cancelled'));
  }

  /** Ends the call for its caller, and cancels it at the node. */
  fail(error: Error): void {
    this.#answer.interrupt(error);
    this.#finish();
  }

  /** The node's answer comes in `outputs`; what the generator yields goes to the node. */
  async *serve(outputs: AsyncIterator<RelayOutput>, gone: AbortSignal): AsyncIterable<RelayInput> {
    this.#begun.resolve();
    this.#answer.begin(outputs);
    const leave = (): void => this.fail(lost(this.nodeId, 'the connection is lost'));
    gone.addEventListener('abort', leave, { once: true });
    try {
      yield* this.#inputs;
    } finally {
      gone.removeEventListener('abort', leave);
    }
    // Also when all was said: an end that is none reaches the node at once, whatever it has not read yet.
    throw new TsswarmError('CANCELLED', 'answering a call: its caller does not wait any more');
  }

  async *#read(): AsyncIterable<unknown> {
    const { decode } = codec<object>(this.#method.response);
    try {
      for (;;) {
        const next = await this.#next();
        if (next.done === true) throw lost(this.nodeId, 'the connection is lost');
        const { failure, message, done } = next.value;
        if (done === true) return;
        if (failure !== undefined) throw decodeFailure(Buffer.from(failure));
        if (message !== undefined) yield decode(message);
      }
    } finally {
      this.#finish();
    }
  }

  async #next(): Promise<IteratorResult<RelayOutput, unknown>> {
    try {
      return await this.#answer.next();
    } catch (error) {
      if (isTsswarmError(error) || this.#signal?.aborted === true) throw error;
      throw lost(this.nodeId, messageOf(error), error);
    }
  }

  #finish(): void {
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#inputs.close();
    this.#closed.resolve();
  }
}

function lost(nodeId: string, reason: string, cause?: unknown): TsswarmError {
  return new TsswarmError('UNAVAILABLE', `talking to node "${nodeId}": ${reason}`, {
    ...(cause === undefined ? {} : { cause }),
    hint: 'see "tsswarm node ls"; what runs there may run on',
  });
}
