import { TsswarmError, isTsswarmError, messageOf } from '../../../base/errors.ts';
import { grpcMethod } from '../../../proto/rpc/definition.ts';
import type { AnyMethod } from '../../../proto/rpc/definition.ts';
import type { Caller } from '../../../proto/rpc/caller.ts';
import type { Connection } from '../../../proto/rpc/client.ts';
import type { Network } from '../network.ts';
import type { Life, World } from '../world.ts';

/** One end of a connection: an address and the process behind it. */
export interface End {
  readonly address: string;
  readonly life: Life;
}

type Handlers = Readonly<Record<string, (request: unknown, signal: AbortSignal, caller: Caller) => unknown>>;

/** A server's answers, and what is told of them. */
interface Served extends End {
  readonly handlers: Handlers;
}

/** A link that carries nothing for so long is given up: a ping after ten seconds, and five to answer it. */
const SILENCE_MS = 15_000;
const LOOK_EVERY_MS = 2_500;
const RETRANSMIT_MS = 400;

/**
 * Connections of the product's calls: ordered, nothing is lost while they last; a link that is cut holds messages up until they are
 * sent again or the connection is given up. Every message passes through the product's codec.
 */
export class Wires {
  readonly #world: World;
  readonly #network: Network;
  readonly #delayMs: number;
  readonly #served = new Map<string, Served>();
  readonly #links = new Set<Link>();

  constructor(world: World, network: Network, delayMs: number) {
    this.#world = world;
    this.#network = network;
    this.#delayMs = delayMs;
  }

  /** Answers at an address from now on. */
  serve(end: End, handlers: object): void {
    this.#served.set(end.address, { ...end, handlers: handlers as Handlers });
  }

  /** A process has died: whoever is connected to it hears of it, where the link allows. */
  died(life: Life): void {
    for (const link of this.#links) if (link.concerns(life)) link.reset();
  }

  /** A connection as the product's clients take it; it is made anew when it was lost. */
  connect(from: End, to: string, identity: Caller): Connection {
    let link: Link | undefined;
    const open = (): Link => {
      if (link === undefined || link.isOver) {
        link = new Link(this.#world, this.#network, this.#delayMs, from, to, {
          server: () => this.#served.get(to),
          over: (ended) => this.#links.delete(ended),
        });
        this.#links.add(link);
      }
      return link;
    };
    return {
      service: (definition: Readonly<Record<string, object>>, onBehalfOf?: Caller) => {
        const caller = onBehalfOf === undefined ? identity : { ...onBehalfOf, via: from.address as never };
        const calls = Object.entries(definition).map(([name, value]) => {
          const method = value as AnyMethod;
          const call = (request: unknown, signal?: AbortSignal): Call =>
            open().call({ name, method, request, caller }, signal);
          return [name, method.responseStream ? streamOf(call) : unaryOf(call)];
        });
        return Object.fromEntries(calls) as never;
      },
      close: () => link?.close(),
    };
  }
}

const unaryOf =
  (start: (request: unknown, signal?: AbortSignal) => Call) => async (request: unknown, signal?: AbortSignal) => {
    signal?.throwIfAborted();
    for await (const answer of start(request, signal).messages()) return answer;
    throw new TsswarmError('INTERNAL', 'the call ended without an answer');
  };

const streamOf = (start: (request: unknown, signal?: AbortSignal) => Call) =>
  async function* (request: unknown, signal?: AbortSignal) {
    signal?.throwIfAborted();
    yield* start(request, signal).messages();
  };

/** The caller's half of one call. */
class Call {
  readonly #arrived: unknown[] = [];
  #ended: { readonly error: Error | undefined } | undefined;
  #wake: () => void = () => undefined;
  readonly #leave: () => void;

  /** @param leave the caller wants nothing more of it */
  constructor(leave: () => void) {
    this.#leave = leave;
  }

  push(message: unknown): void {
    this.#arrived.push(message);
    this.#wake();
  }

  end(error?: Error): void {
    this.#ended ??= { error };
    this.#wake();
  }

  async *messages(): AsyncGenerator {
    try {
      for (;;) {
        if (this.#arrived.length > 0) yield this.#arrived.shift();
        else if (this.#ended?.error !== undefined) throw this.#ended.error;
        else if (this.#ended !== undefined) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.#leave();
    }
  }
}

interface Asked {
  readonly name: string;
  readonly method: AnyMethod;
  readonly request: unknown;
  readonly caller: Caller;
}

interface Surroundings {
  readonly server: () => Served | undefined;
  readonly over: (link: Link) => void;
}

interface Way {
  readonly queue: { readonly at: number; readonly run: () => void }[];
  last: number;
  running: boolean;
  heldSince: number | undefined;
}

/** One connection between two processes. */
class Link {
  isOver = false;
  readonly #world: World;
  readonly #network: Network;
  readonly #delayMs: number;
  readonly #from: End;
  readonly #to: string;
  readonly #around: Surroundings;
  /** The process that it was made to; undefined before anything arrived there. */
  #server: Served | undefined;
  readonly #out: Way = { queue: [], last: 0, running: false, heldSince: undefined };
  readonly #back: Way = { queue: [], last: 0, running: false, heldSince: undefined };
  readonly #calls = new Map<Call, AbortController>();
  #silentSince: number | undefined;

  constructor(world: World, network: Network, delayMs: number, from: End, to: string, around: Surroundings) {
    this.#world = world;
    this.#network = network;
    this.#delayMs = delayMs;
    this.#from = from;
    this.#to = to;
    this.#around = around;
    this.#look();
  }

  concerns(life: Life): boolean {
    return life === this.#from.life || life === this.#server?.life;
  }

  call({ name, method, request, caller }: Asked, signal?: AbortSignal): Call {
    const { requestSerialize, requestDeserialize, responseSerialize, responseDeserialize } = grpcMethod(method);
    const gone = new AbortController();
    const leave = (): void => {
      signal?.removeEventListener('abort', abort);
      if (!this.#calls.delete(call) || gone.signal.aborted) return;
      this.#send(this.#out, () => gone.abort(new TsswarmError('CANCELLED', 'the caller is gone')));
    };
    const abort = (): void => {
      call.end(signal?.reason as Error);
      leave();
    };
    const call = new Call(leave);
    this.#calls.set(call, gone);
    signal?.addEventListener('abort', abort, { once: true });
    const asked = Buffer.from(requestSerialize(request));
    const back = (act: () => void): void => {
      // What a process that has died still says nobody hears.
      if (this.#server?.life.alive === true && this.#calls.has(call)) this.#send(this.#back, act);
    };
    this.#send(this.#out, () => {
      if (gone.signal.aborted) return;
      const decoded = requestDeserialize(asked);
      const server = this.#server as Served;
      const answered = (answer: unknown): void => {
        const bytes = Buffer.from(responseSerialize(answer));
        back(() => call.push(responseDeserialize(bytes)));
      };
      const handler = server.handlers[name] as Handlers[string];
      void (async () => {
        if (!method.responseStream) answered(await handler(decoded, gone.signal, caller));
        else
          for await (const answer of handler(decoded, gone.signal, caller) as AsyncIterable<unknown>) answered(answer);
      })().then(
        () => back(() => call.end()),
        (error: unknown) =>
          back(() => call.end(isTsswarmError(error) ? error : new TsswarmError('INTERNAL', messageOf(error)))),
      );
    });
    return call;
  }

  /** Closed by its owner. */
  close(): void {
    this.#break('the connection was closed');
  }

  /** A process at one of its ends is gone; the other hears of it if the link carries that. */
  reset(): void {
    if (this.#passes()) this.#world.after(this.#delayMs, () => this.#break('the connection was reset'));
  }

  #passes(): boolean {
    const { address } = this.#from;
    return this.#network.passes(address, this.#to) && this.#network.passes(this.#to, address);
  }

  /** Pings, as it were. */
  #look(): void {
    this.#world.after(LOOK_EVERY_MS, () => {
      if (this.isOver) return;
      const works = this.#passes();
      const lives = this.#from.life.alive && this.#server?.life.alive !== false;
      this.#silentSince = works ? undefined : (this.#silentSince ?? this.#world.now);
      if (works && !lives) return this.#break('the connection was reset');
      if (this.#silentSince !== undefined && this.#world.now - this.#silentSince >= SILENCE_MS)
        return this.#break('nothing was heard for too long');
      this.#look();
    });
  }

  #break(reason: string): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#around.over(this);
    const error = new TsswarmError('UNAVAILABLE', `talking to "${this.#to}": ${reason}`);
    for (const [call, gone] of this.#calls) {
      const { life } = this.#from;
      if (life.alive) this.#world.enter(life, () => call.end(error));
      this.#leaveServer(gone, this.#world.now);
    }
    this.#calls.clear();
  }

  /** The server hears that its caller is gone when the link carries that, or when it has been silent for too long there too. */
  #leaveServer(gone: AbortController, since: number): void {
    const server = this.#server;
    if (server === undefined || !server.life.alive || gone.signal.aborted) return;
    if (!this.#passes() && this.#world.now - since < SILENCE_MS)
      return void this.#world.after(LOOK_EVERY_MS, () => this.#leaveServer(gone, since));
    this.#world.enter(server.life, () => gone.abort(new TsswarmError('CANCELLED', 'the caller is gone')));
  }

  #send(way: Way, run: () => void): void {
    const { now } = this.#world;
    way.last = Math.max(way.last, now + this.#world.between(this.#delayMs / 2, this.#delayMs * 1.5));
    way.queue.push({ at: way.last, run });
    if (!way.running) this.#pump(way);
  }

  #pump(way: Way): void {
    const next = way.queue[0];
    way.running = next !== undefined;
    if (next !== undefined) this.#world.after(next.at - this.#world.now, () => this.#deliver(way), undefined, 7);
  }

  #deliver(way: Way): void {
    if (this.isOver) return;
    const later = (ms: number): void => void this.#world.after(ms, () => this.#deliver(way), undefined, 7);
    if (!this.#passes()) {
      way.heldSince ??= this.#world.now;
      if (this.#world.now - way.heldSince >= SILENCE_MS) return this.#break('nothing was heard for too long');
      return later(this.#world.between(RETRANSMIT_MS / 2, RETRANSMIT_MS * 2));
    }
    way.heldSince = undefined;
    if (way === this.#out) this.#server ??= this.#around.server();
    const life = way === this.#out ? this.#server?.life : this.#from.life;
    if (life?.alive !== true) return this.#break('the connection was refused');
    // In order: what comes to a process that stands still waits for it one after another.
    if (life.pausedUntil > this.#world.now) return later(life.pausedUntil - this.#world.now);
    const next = way.queue.shift();
    this.#world.enter(life, () => next?.run(), 7);
    this.#pump(way);
  }
}
