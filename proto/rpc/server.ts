import type { Duplex } from 'node:stream';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type {
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedServiceImplementation,
  sendUnaryData,
} from '@grpc/grpc-js';
import { grpcService } from './definition.ts';
import type { AnyMethod } from './definition.ts';
import { toGrpcStatus } from './errors.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import type { Method } from './services.ts';

/**
 * The handlers of a service, one per method. A stream is an async iterable; `signal` aborts when the caller is gone.
 * What a handler throws reaches the caller as the same TsswarmError.
 */
export type ServiceHandlers<S> = {
  readonly [K in keyof S]: S[K] extends Method<infer Q, infer A, false, false>
    ? (request: Q, signal: AbortSignal) => Promise<A>
    : S[K] extends Method<infer Q, infer A, false, true>
      ? (request: Q, signal: AbortSignal) => AsyncIterable<A>
      : S[K] extends Method<infer Q, infer A, true, true>
        ? (requests: AsyncIterable<Q>, signal: AbortSignal) => AsyncIterable<A>
        : never;
};

/** A gRPC server to which services are added before it is bound. */
export interface RpcServer {
  add<S extends Readonly<Record<string, object>>>(definition: S, handlers: ServiceHandlers<S>): void;
  /** @param address "unix:/path" or "host:port" @throws when the address cannot be bound */
  listen(address: string, serverCredentials?: ServerCredentials): Promise<void>;
  /** Takes over a connection that was accepted elsewhere, without TLS: only from a unix socket. */
  serve(connection: Duplex): void;
  /** Ends all calls at once. */
  close(): void;
}

/** Makes a server; without TLS it must only be bound to a unix socket. */
export function createRpcServer(): RpcServer {
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  });
  let injector: ReturnType<Server['createConnectionInjector']> | undefined;
  return {
    add(definition, handlers) {
      const implementation: UntypedServiceImplementation = {};
      for (const [name, method] of Object.entries(definition)) {
        implementation[name] = adapt(method as AnyMethod, (handlers as Record<string, unknown>)[name]) as never;
      }
      server.addService(grpcService(definition), implementation);
    },
    listen: (address, serverCredentials) =>
      new Promise((resolve, reject) => {
        server.bindAsync(address, serverCredentials ?? ServerCredentials.createInsecure(), (error) =>
          error ? reject(error) : resolve(),
        );
      }),
    serve: (connection) =>
      (injector ??= server.createConnectionInjector(ServerCredentials.createInsecure())).injectConnection(connection),
    close: () => server.forceShutdown(),
  };
}

type Call = Pick<ServerUnaryCall<unknown, unknown>, 'on'>;

function adapt(method: AnyMethod, handler: unknown): unknown {
  if (!method.responseStream) {
    const answer = handler as (request: unknown, signal: AbortSignal) => Promise<unknown>;
    return (call: ServerUnaryCall<unknown, unknown>, done: sendUnaryData<unknown>) => {
      answer(call.request, whenGone(call)).then(
        (value) => done(null, value),
        (error: unknown) => done(toGrpcStatus(error)),
      );
    };
  }
  const stream = handler as (input: unknown, signal: AbortSignal) => AsyncIterable<unknown>;
  return (call: ServerWritableStream<unknown, unknown> & ServerDuplexStream<unknown, unknown>) => {
    const signal = whenGone(call);
    call.on('error', () => undefined);
    // A handler that stops reading still has an answer to give: the call must not be destroyed by that.
    const input = method.requestStream ? call.iterator({ destroyOnReturn: false }) : call.request;
    void pump(call, stream(input, signal), signal);
  };
}

/** Writes what the handler yields, as fast as the caller reads. */
async function pump(call: ServerWritableStream<unknown, unknown>, values: AsyncIterable<unknown>, signal: AbortSignal) {
  try {
    for await (const value of values) {
      if (signal.aborted) return;
      if (!call.write(value)) await drained(call, signal);
    }
    call.end();
  } catch (error) {
    if (!signal.aborted) call.emit('error', toGrpcStatus(error));
  }
}

function drained(call: ServerWritableStream<unknown, unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      call.removeListener('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
  });
}

function whenGone(call: Call): AbortSignal {
  const controller = new AbortController();
  call.on('cancelled', () => controller.abort(new Error('the caller is gone')));
  return controller.signal;
}
