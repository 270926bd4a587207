import { TsswarmError } from '../../base/errors.ts';
import type { Caller } from './caller.ts';
import type { Connection, DuplexCall } from './client.ts';
import type { ServiceHandlers } from './server.ts';
import type { Method } from './services.ts';

type AnyMethod = Method<unknown, unknown, boolean, boolean>;
type AnyHandler = (input: unknown, signal: AbortSignal, caller: Caller) => unknown;
type AnyClient = Readonly<Record<string, (...args: readonly unknown[]) => unknown>>;

/**
 * Handlers that answer here where this manager leads, and pass the call on to the leader where it does not: any manager
 * answers any command. The leader is told for whom, and decides by that caller's rights.
 * @param here what answers on the leader
 * @param leader a connection to the leader; undefined: this manager leads. What it throws (nobody leads now) ends the call
 * @returns handlers of the same service. A call that was passed on once is not passed on again: NOT_LEADER
 */
export function forwarding<S extends Readonly<Record<string, object>>>(
  definition: S,
  here: ServiceHandlers<S>,
  leader: () => Connection | undefined,
): ServiceHandlers<S> {
  const handlers = Object.entries(definition).map(([name, value]) => {
    const method = value as AnyMethod;
    const answer = (here as Readonly<Record<string, AnyHandler>>)[name] as AnyHandler;
    const remote = (caller: Caller): AnyClient | undefined => {
      const connection = leader();
      if (connection === undefined) return undefined;
      if (caller.via === undefined) return connection.service(definition, caller) as unknown as AnyClient;
      throw new TsswarmError(
        'NOT_LEADER',
        `calling "${name}": passed on by "${caller.via}" to a manager that does not lead`,
      );
    };
    return [name, method.responseStream ? passStream(name, method, answer, remote) : passUnary(name, answer, remote)];
  });
  return Object.fromEntries(handlers) as ServiceHandlers<S>;
}

type Remote = (caller: Caller) => AnyClient | undefined;

function passUnary(name: string, answer: AnyHandler, remote: Remote): AnyHandler {
  return async (request, signal, caller) => {
    const client = remote(caller);
    return client === undefined ? answer(request, signal, caller) : client[name]?.(request, signal);
  };
}

function passStream(name: string, method: AnyMethod, answer: AnyHandler, remote: Remote): AnyHandler {
  return async function* (input, signal, caller) {
    const client = remote(caller);
    if (client === undefined) {
      yield* answer(input, signal, caller) as AsyncIterable<unknown>;
    } else if (method.requestStream) {
      const call = client[name]?.(signal) as DuplexCall<unknown, unknown>;
      // Its failure is the call's: the output ends with it.
      void passInput(input as AsyncIterable<unknown>, call).catch(() => call.cancel());
      yield* call.output;
    } else {
      yield* client[name]?.(input, signal) as AsyncIterable<unknown>;
    }
  };
}

async function passInput(input: AsyncIterable<unknown>, call: DuplexCall<unknown, unknown>): Promise<void> {
  for await (const message of input) await call.send(message);
  call.end();
}
