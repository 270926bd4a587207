import { sleep } from '../../base/async.ts';
import { systemClock } from '../../base/clock.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import type { Caller } from './caller.ts';
import type { Connection, DuplexCall } from './client.ts';
import type { ServiceHandlers } from './server.ts';
import type { Method } from './services.ts';

type AnyMethod = Method<unknown, unknown, boolean, boolean>;
type AnyHandler = (input: unknown, signal: AbortSignal, caller: Caller) => unknown;
type AnyClient = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;

const ANOTHER_LEADS = 'another manager leads';
const LOST_BEFORE = 'the leader was lost before it answered';
const DOES_NOT_LEAD = 'to a manager that does not lead';
/** What a call ends with that was passed on to a manager which leads no more: another one is known. */
export const anotherLeads = (): TsswarmError =>
  new TsswarmError('UNAVAILABLE', `talking to the leader: ${ANOTHER_LEADS}`);
/** Whether an error says so; also one from another manager, of which code and words come over the wire. */
export const saysAnotherLeads = (error: unknown): boolean =>
  (isTsswarmError(error, 'UNAVAILABLE') && error.message.includes(ANOTHER_LEADS)) ||
  (isTsswarmError(error, 'OUTCOME_UNKNOWN') && error.message.includes(LOST_BEFORE));
/** Whether a call that was passed on was refused before anything was done: who it was passed on to does not lead. */
const wasRefused = (error: unknown): boolean =>
  isTsswarmError(error, 'NOT_LEADER') && error.message.includes(DOES_NOT_LEAD);

/** A connection to the leader. */
export interface LeaderConnection extends Connection {
  /** Aborts when another leads: nobody answers the calls under way any more. */
  readonly lost?: AbortSignal;
}

/**
 * Handlers that answer here where this manager leads, and pass the call on to the leader where it does not: any manager
 * answers any command. The leader is told for whom, and decides by that caller's rights.
 * @param here what answers on the leader
 * @param leader a connection to the leader; undefined: this manager leads. What it throws (nobody leads now) ends the call; it may
 *   wait for a leader as long as the call is wanted
 * @param clock on which a lost leader is waited for
 * @param leading aborts when this manager leads no more: streams that it answers end with it, for those whose answers are right only on
 *   the leader. Absent: they go on, as what they follow is told to every manager
 * @returns handlers of the same service. A call that was passed on once is not passed on again: NOT_LEADER. Who passed it on waits for news
 *   of another leader then and asks again, but where what the caller sends was passed on already
 */
export function forwarding<S extends Readonly<Record<string, object>>>(
  definition: S,
  here: ServiceHandlers<S>,
  leader: (signal: AbortSignal) => LeaderConnection | undefined | Promise<LeaderConnection | undefined>,
  clock: Clock = systemClock,
  leading?: () => AbortSignal | undefined,
): ServiceHandlers<S> {
  const handlers = Object.entries(definition).map(([name, value]) => {
    const method = value as AnyMethod;
    const answer = (here as Readonly<Record<string, AnyHandler>>)[name] as AnyHandler;
    const remote: FindRemote = async (caller, signal) => {
      const connection = await leader(signal);
      if (connection === undefined) return undefined;
      if (caller.via === undefined) {
        const client = connection.service(definition, caller) as unknown as AnyClient;
        return { client, lost: connection.lost };
      }
      throw new TsswarmError('NOT_LEADER', `calling "${name}": passed on by "${caller.via}" ${DOES_NOT_LEAD}`);
    };
    return [
      name,
      method.responseStream
        ? passStream(name, method, answer, remote, clock, leading)
        : passUnary(name, answer, remote, clock),
    ];
  });
  return Object.fromEntries(handlers) as ServiceHandlers<S>;
}

/** How long it is waited to hear that the leader is another before it is asked again, where that does no harm. */
const NEWS_MS = 1_500;
/** Who leads is heard of by each manager in its own time: the former leader knows first, and refuses what others still pass on to it. */
const TRIES_REFUSED = 3;
/** A leader that is lost because it was demoted, or has handed over, still answers what it was asked before. */
const ANSWER_MS = 1_000;
/** Methods whose names begin so change nothing, and can be asked twice. */
const READS = /^(list|get)[A-Z]/;

interface Remote {
  readonly client: AnyClient;
  readonly lost: AbortSignal | undefined;
}
type FindRemote = (caller: Caller, signal: AbortSignal) => Promise<Remote | undefined>;

const either = (signal: AbortSignal, lost: AbortSignal | undefined): AbortSignal =>
  lost === undefined ? signal : AbortSignal.any([signal, lost]);

function passUnary(name: string, answer: AnyHandler, find: FindRemote, clock: Clock): AnyHandler {
  return async (request, signal, caller) => {
    for (let tries = 0; ; tries++) {
      const remote = await find(caller, signal);
      if (remote === undefined) return answer(request, signal, caller);
      const { client, lost } = remote;
      // What only reads is asked again elsewhere at once. The answer to a change may be on its way.
      const patience = new Patience(lost, READS.test(name) ? 0 : ANSWER_MS, clock);
      try {
        return await (client[name]?.(request, either(signal, patience.over)) as Promise<unknown>);
      } catch (error) {
        if (signal.aborted || lost === undefined) throw error;
        const isRefused = wasRefused(error);
        const isLost = lost.aborted || isTsswarmError(error, 'UNAVAILABLE');
        if (isRefused ? tries + 1 < TRIES_REFUSED : READS.test(name) && tries === 0 && isLost) {
          await newsOf(lost, signal, clock);
          continue;
        }
        if (isRefused || !lost.aborted) throw error;
        throw new TsswarmError('OUTCOME_UNKNOWN', `calling "${name}": ${LOST_BEFORE}`, {
          cause: error,
          hint: 'see whether it was done, and repeat it if not',
        });
      } finally {
        patience.end();
      }
    }
  };
}

/** Says when a leader that was lost is no longer waited for. */
class Patience {
  readonly #over = new AbortController();
  readonly #lost: AbortSignal | undefined;
  #timer: Timer | undefined;
  readonly #begin: () => void;

  constructor(lost: AbortSignal | undefined, ms: number, clock: Clock) {
    this.#lost = lost;
    this.#begin = () => {
      if (ms === 0) this.#over.abort(lost?.reason);
      else this.#timer = clock.startTimer(ms, () => this.#over.abort(lost?.reason));
    };
    if (lost?.aborted === true) this.#begin();
    else lost?.addEventListener('abort', this.#begin, { once: true });
  }

  get over(): AbortSignal {
    return this.#over.signal;
  }

  end(): void {
    this.#timer?.cancel();
    this.#lost?.removeEventListener('abort', this.#begin);
  }
}

/** Waits until another one leads than who was asked, for a while. */
const newsOf = (lost: AbortSignal, signal: AbortSignal, clock: Clock): Promise<void> =>
  sleep(clock, NEWS_MS, AbortSignal.any([signal, lost])).catch(() => undefined);

function passStream(
  name: string,
  method: AnyMethod,
  answer: AnyHandler,
  find: FindRemote,
  clock: Clock,
  leading: () => AbortSignal | undefined = () => undefined,
): AnyHandler {
  return async function* (input, signal, caller) {
    for (let tries = 1; ; tries++) {
      const remote = await find(caller, signal);
      if (remote === undefined) {
        yield* answer(input, either(signal, leading()), caller) as AsyncIterable<unknown>;
        return;
      }
      const { client, lost } = remote;
      if (method.requestStream) {
        const call = client[name]?.(either(signal, lost)) as DuplexCall<unknown, unknown>;
        // Its failure is the call's: the output ends with it.
        void passInput(input as AsyncIterable<unknown>, call).catch(() => call.cancel());
        yield* call.output;
        return;
      }
      let begun = false;
      try {
        for await (const message of client[name]?.(input, either(signal, lost)) as AsyncIterable<unknown>) {
          begun = true;
          yield message;
        }
        return;
      } catch (error) {
        // What streams say is only read, and a session can be opened twice: nothing is done twice by who asks another leader.
        const isAskedAgain = !begun && !signal.aborted && lost !== undefined && tries < TRIES_REFUSED;
        if (!isAskedAgain || !(lost.aborted || wasRefused(error))) throw error;
        await newsOf(lost, signal, clock);
      }
    }
  };
}

async function passInput(input: AsyncIterable<unknown>, call: DuplexCall<unknown, unknown>): Promise<void> {
  for await (const message of input) await call.send(message);
  call.end();
}
