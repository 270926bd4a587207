import { Client, credentials } from '@grpc/grpc-js';
import type { ChannelCredentials, ClientDuplexStream } from '@grpc/grpc-js';
import { grpcMethod } from './definition.ts';
import type { AnyMethod } from './definition.ts';
import { fromGrpcError } from './errors.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import type { Method } from './services.ts';

/** A stream of both directions; the caller ends it. Errors come as TsswarmError through `output`. */
export interface DuplexCall<Q, A> {
  send(message: Q): Promise<void>;
  end(): void;
  cancel(): void;
  readonly output: AsyncIterable<A>;
}

/** The calls of a service, one function per method, with the kinds that the definition names. */
export type ServiceClient<S> = {
  readonly [K in keyof S]: S[K] extends Method<infer Q, infer A, false, false>
    ? (request: Q, signal?: AbortSignal) => Promise<A>
    : S[K] extends Method<infer Q, infer A, false, true>
      ? (request: Q, signal?: AbortSignal) => AsyncIterable<A>
      : S[K] extends Method<infer Q, infer A, true, true>
        ? (signal?: AbortSignal) => DuplexCall<Q, A>
        : never;
};

/** A connection that many service clients share. */
export interface Connection {
  service<S extends Readonly<Record<string, object>>>(definition: S): ServiceClient<S>;
  close(): void;
}

/**
 * Connects to `address` ("unix:/run/tsswarm/tsswarm.sock" or "host:port"); the connection is made at the first call.
 * @param channelCredentials absent: without TLS, only for unix sockets
 */
export function connect(address: string, channelCredentials?: ChannelCredentials): Connection {
  const client = new Client(address, channelCredentials ?? credentials.createInsecure(), {
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_reconnect_backoff_ms': 1000,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.use_local_subchannel_pool': 1,
  });
  return {
    service<S extends Readonly<Record<string, object>>>(definition: S) {
      const calls = Object.entries(definition).map(([name, method]) => [name, bind(client, method as AnyMethod)]);
      return Object.fromEntries(calls) as ServiceClient<S>;
    },
    close: () => client.close(),
  };
}

function bind(client: Client, method: AnyMethod): unknown {
  const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
  if (method.requestStream) {
    return (signal?: AbortSignal): DuplexCall<unknown, unknown> =>
      duplex(client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize), signal);
  }
  if (method.responseStream) {
    return async function* (request: unknown, signal?: AbortSignal) {
      signal?.throwIfAborted();
      const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
      const cancel = (): void => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      try {
        yield* call;
      } catch (error) {
        signal?.throwIfAborted();
        throw fromGrpcError(error);
      } finally {
        signal?.removeEventListener('abort', cancel);
        call.on('error', () => undefined);
        call.cancel();
      }
    };
  }
  return (request: unknown, signal?: AbortSignal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, answer) => {
        signal?.removeEventListener('abort', cancel);
        if (error) reject(signal?.aborted ? (signal.reason as Error) : fromGrpcError(error));
        else resolve(answer);
      });
      const cancel = (): void => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
    });
}

function duplex(call: ClientDuplexStream<unknown, unknown>, signal?: AbortSignal): DuplexCall<unknown, unknown> {
  const cancel = (): void => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  let failure: unknown;
  call.on('error', (error) => (failure = error));
  return {
    send: (message) =>
      new Promise((resolve, reject) => {
        if (failure !== undefined || call.destroyed)
          reject(fromGrpcError(failure ?? new Error('the stream has ended')));
        else call.write(message, () => resolve());
      }),
    end: () => call.end(),
    cancel,
    output: (async function* () {
      try {
        yield* call;
      } catch (error) {
        signal?.throwIfAborted();
        throw fromGrpcError(error);
      } finally {
        signal?.removeEventListener('abort', cancel);
      }
    })(),
  };
}
