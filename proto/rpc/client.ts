import { Client, Metadata, credentials } from '@grpc/grpc-js';
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { isTsswarmError } from '../../base/errors.ts';
import type { TsswarmError } from '../../base/errors.ts';
import { encodeCaller } from './caller.ts';
import type { Caller } from './caller.ts';
import { grpcMethod } from './definition.ts';
import type { AnyMethod } from './definition.ts';
import { fromGrpcError, lostConnection } from './errors.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import type { Method } from './services.ts';
import type { TlsCredentials } from './tls.ts';

/** A stream of both directions; the caller ends it. Errors come as TsswarmError through `output`. */
export interface DuplexCall<Q, A> {
  send(message: Q): Promise<void>;
  end(): void;
  cancel(): void;
  readonly output: AsyncIterable<A>;
  /** Resolves when the call is over, also while output lies unread: nobody takes what is sent any more. */
  readonly closed: Promise<void>;
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
  /** @param onBehalfOf the caller that a manager passes a call on for; the leader decides by its rights */
  service<S extends Readonly<Record<string, object>>>(definition: S, onBehalfOf?: Caller): ServiceClient<S>;
  close(): void;
}

/** Metadata key with the caller that a manager passes a call on for. */
export const ON_BEHALF_KEY = 'tsswarm-on-behalf-of';

/** What a call needs to know of its connection. */
interface Wire {
  readonly client: () => Client;
  readonly metadata: () => Metadata;
  readonly fail: (error: unknown) => TsswarmError;
}

/** Longest time for the answer to the question whether somebody is there, ms. */
const ANSWER_MS = 5_000;

/**
 * Connects to `address` ("unix:/run/tsswarm/tsswarm.sock" or "host:port"); the connection is made at the first call.
 * @param tls absent: without TLS, only for unix sockets
 * @param answerMs a connection over TLS is lost when nobody answers within that time whether anybody is there (asked every 10 s)
 */
export function connect(address: string, tls?: TlsCredentials, { answerMs = ANSWER_MS } = {}): Connection {
  const open = (): Client =>
    new Client(address, tls ?? credentials.createInsecure(), {
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_reconnect_backoff_ms': 1000,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_channelz': 0,
      // A link that is cut says nothing: ask.
      ...(tls === undefined ? {} : { 'grpc.keepalive_time_ms': 10_000, 'grpc.keepalive_timeout_ms': answerMs }),
    });
  let client = open();
  // A new certificate: new calls take a new connection, calls under way end where they are.
  const unfollow = tls?.onReplace?.(() => {
    const before = client;
    client = open();
    before.close();
  });
  const fail = (error: unknown): TsswarmError =>
    tls === undefined ? fromGrpcError(error) : failureOf(error, address, tls);
  return {
    service<S extends Readonly<Record<string, object>>>(definition: S, onBehalfOf?: Caller) {
      const metadata = (): Metadata => {
        const value = new Metadata();
        if (onBehalfOf !== undefined) value.set(ON_BEHALF_KEY, encodeCaller(onBehalfOf));
        return value;
      };
      const wire: Wire = { client: () => client, metadata, fail };
      const calls = Object.entries(definition).map(([name, method]) => [name, bind(wire, method as AnyMethod)]);
      return Object.fromEntries(calls) as ServiceClient<S>;
    },
    close: () => {
      unfollow?.();
      client.close();
    },
  };
}

/** Over TLS, a lost connection has an address and often a reason: a certificate that was refused, a closed port. */
function failureOf(error: unknown, address: string, { failure }: TlsCredentials): TsswarmError {
  const ours = fromGrpcError(error);
  const details = (ours.cause as Partial<ServiceError> | undefined)?.details ?? '';
  if (!isTsswarmError(ours, 'UNAVAILABLE') || ours.cause === undefined) return ours;
  if (failure !== undefined && details.includes(failure.message)) return failure;
  const reason = details.startsWith('Name resolution failed')
    ? 'nobody knows an address for that name'
    : (/Last error: (.*?)\. Resolution note/s.exec(details)?.[1] ?? 'the connection is lost');
  return lostConnection(address, reason, error);
}

function bind(wire: Wire, method: AnyMethod): unknown {
  const { client, metadata, fail } = wire;
  const { path, requestSerialize, responseDeserialize } = grpcMethod(method);
  if (method.requestStream) {
    return (signal?: AbortSignal): DuplexCall<unknown, unknown> =>
      duplex(client().makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata()), fail, signal);
  }
  if (method.responseStream) {
    return async function* (request: unknown, signal?: AbortSignal) {
      signal?.throwIfAborted();
      const call = client().makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, metadata());
      const cancel = (): void => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
      try {
        yield* call;
      } catch (error) {
        signal?.throwIfAborted();
        throw fail(error);
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
      const call = client().makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadata(),
        (error, answer) => {
          signal?.removeEventListener('abort', cancel);
          if (error) reject(signal?.aborted ? (signal.reason as Error) : fail(error));
          else resolve(answer);
        },
      );
      const cancel = (): void => call.cancel();
      signal?.addEventListener('abort', cancel, { once: true });
    });
}

function duplex(
  call: ClientDuplexStream<unknown, unknown>,
  fail: Wire['fail'],
  signal?: AbortSignal,
): DuplexCall<unknown, unknown> {
  const cancel = (): void => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  let failure: unknown;
  call.on('error', (error) => (failure = error));
  const closed = new Promise<void>((resolve) => call.once('status', () => resolve()));
  return {
    closed,
    send: (message) =>
      new Promise((resolve, reject) => {
        if (failure !== undefined || call.destroyed) reject(fail(failure ?? new Error('the stream has ended')));
        else call.write(message, () => resolve());
      }),
    end: () => call.end(),
    cancel,
    output: (async function* () {
      try {
        yield* call;
      } catch (error) {
        signal?.throwIfAborted();
        throw fail(error);
      } finally {
        signal?.removeEventListener('abort', cancel);
      }
    })(),
  };
}
