import type { Duplex } from 'node:stream';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type {
  Metadata,
  ServerDuplexStream,
  ServerOptions,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedServiceImplementation,
  sendUnaryData,
} from '@grpc/grpc-js';
import { TsswarmError } from '../../base/errors.ts';
import { splitAddress } from './address.ts';
import { LOCAL_CALLER, decodeCaller, describeCaller } from './caller.ts';
import type { Caller } from './caller.ts';
import { admit, admitRequest, rightsOf } from './callers.ts';
import { ON_BEHALF_KEY } from './client.ts';
import { grpcService } from './definition.ts';
import type { AnyMethod } from './definition.ts';
import { toGrpcStatus } from './errors.ts';
import { inbox } from './inbox.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';
import type { Method } from './services.ts';
import { standingCalls } from './standing-calls.ts';
import type { StandingCalls } from './standing-calls.ts';
import { createTlsListener } from './tls-listener.ts';
import type { TlsOptions } from './tls-listener.ts';

/**
 * The handlers of a service, one per method. A stream is an async iterable; `signal` aborts when the caller is gone.
 * What a handler throws reaches the caller as the same TsswarmError. Whether `caller` may call at all has been decided
 * before (callers.ts).
 * @typeParam C `[]` for handlers that need not know the caller, so that they can be called in process with two arguments
 */
export type ServiceHandlers<S, C extends readonly [] | readonly [Caller] = readonly [caller: Caller]> = {
  readonly [K in keyof S]: S[K] extends Method<infer Q, infer A, false, false>
    ? (request: Q, signal: AbortSignal, ...caller: C) => Promise<A>
    : S[K] extends Method<infer Q, infer A, false, true>
      ? (request: Q, signal: AbortSignal, ...caller: C) => AsyncIterable<A>
      : S[K] extends Method<infer Q, infer A, true, true>
        ? (requests: AsyncIterable<Q>, signal: AbortSignal, ...caller: C) => AsyncIterable<A>
        : never;
};

/** A gRPC server to which services are added before it listens, on as many addresses as needed. */
export interface RpcServer {
  /** @throws INTERNAL when nobody has decided who may call a method */
  add<S extends Readonly<Record<string, object>>>(definition: S, handlers: ServiceHandlers<S>): void;
  /** Listens on a unix socket ("unix:/path"), which file mode must guard. @throws when it cannot be bound */
  listen(address: string): Promise<void>;
  /**
   * Listens on TCP with mutual TLS. Streams whose caller would not be let in any more are ended.
   * @param address "host:port", "[host]:port"; port 0: any
   * @returns the port
   * @throws PORT_IN_USE, INVALID_INPUT
   */
  listenTls(address: string, options: TlsOptions): Promise<number>;
  /** Takes over a connection that was accepted elsewhere, without TLS: only from a unix socket. */
  serve(connection: Duplex): void;
  /** Ends all calls at once. */
  close(): void;
}

/**
 * A machine without power does not say that it is gone: it is asked, as it asks us (client.ts). One that has no processor for some seconds
 * is there still; what must be known sooner (that a node is down) heartbeats tell.
 */
const NODE_LIMITS: ServerOptions = { 'grpc.keepalive_time_ms': 10_000, 'grpc.keepalive_timeout_ms': 20_000 };

/** Strangers may ask for the root and for a certificate: small messages on short connections. */
const STRANGER_LIMITS: ServerOptions = {
  'grpc.max_receive_message_length': 64 * 1024,
  'grpc.max_connection_age_ms': 30_000,
  'grpc.max_connection_age_grace_ms': 5_000,
  'grpc.max_concurrent_streams': 8,
};

type Service = readonly [definition: object, handlers: object];

/** Makes a server that listens nowhere yet. */
export function createRpcServer(): RpcServer {
  const services: Service[] = [];
  const servers: Server[] = [];
  const closers: (() => void)[] = [];
  let injector: ReturnType<Server['createConnectionInjector']> | undefined;
  const open = (callerAt: CallerAt, limits: ServerOptions = {}, standing?: StandingCalls): Server => {
    const server = new Server({
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
      // channelz stays on: without it grpc-js (1.14) does not know its sessions, and forceShutdown ends none.
      ...limits,
    });
    for (const service of services) addTo(server, service, callerAt, standing);
    servers.push(server);
    return server;
  };
  return {
    add(definition, handlers) {
      if (servers.length > 0) throw new TsswarmError('INTERNAL', 'adding a service: the server listens already');
      for (const { path } of Object.values(definition) as AnyMethod[]) {
        if (rightsOf(path) === undefined)
          throw new TsswarmError('INTERNAL', `serving "${path}": proto/rpc/callers.ts does not say who may call it`);
      }
      services.push([definition, handlers]);
    },
    async listen(address) {
      if (!address.startsWith('unix:'))
        throw new TsswarmError('INTERNAL', `listening on "${address}": without TLS only on a unix socket`);
      const server = open(() => LOCAL_CALLER);
      await new Promise<void>((resolve, reject) => {
        server.bindAsync(address, ServerCredentials.createInsecure(), (error) => (error ? reject(error) : resolve()));
      });
    },
    async listenTls(address, options) {
      const callerAt: CallerAt = (call) => listener.callerAt(call.getPeer());
      // The TLS socket is ours, so that gRPC gets connections whose other end is known.
      const standing = standingCalls();
      // Strangers have nothing to lose: their connections are short.
      const [nodes, strangers] = [open(callerAt, NODE_LIMITS, standing), open(callerAt, STRANGER_LIMITS)].map(
        (server) => server.createConnectionInjector(ServerCredentials.createInsecure()),
      );
      const listener = createTlsListener(options, {
        node: (socket) => nodes?.injectConnection(socket),
        stranger: (socket) => strangers?.injectConnection(socket),
        changed: () => standing.recheck(),
      });
      closers.push(() => listener.close());
      const { host, port } = splitAddress(address, `listening on "${address}"`);
      return listener.listen(host, port);
    },
    serve: (connection) =>
      (injector ??= open(() => LOCAL_CALLER).createConnectionInjector(
        ServerCredentials.createInsecure(),
      )).injectConnection(connection),
    close() {
      for (const close of closers) close();
      for (const server of servers) server.forceShutdown();
    },
  };
}

type Call = Pick<ServerUnaryCall<unknown, unknown>, 'on' | 'getPeer'> & { readonly metadata: Metadata };
type CallerAt = (call: Call) => Caller;

function addTo(
  server: Server,
  [definition, handlers]: Service,
  callerAt: CallerAt,
  standing: StandingCalls | undefined,
): void {
  const implementation: UntypedServiceImplementation = {};
  for (const [name, method] of Object.entries(definition)) {
    implementation[name] = adapt(
      method as AnyMethod,
      (handlers as Record<string, unknown>)[name],
      callerAt,
      standing,
    ) as never;
  }
  server.addService(grpcService(definition as Readonly<Record<string, object>>), implementation);
}

function adapt(method: AnyMethod, handler: unknown, callerAt: CallerAt, standing: StandingCalls | undefined): unknown {
  const { path } = method;
  if (!method.responseStream) {
    const answer = handler as (request: unknown, signal: AbortSignal, caller: Caller) => Promise<unknown>;
    return (call: ServerUnaryCall<unknown, unknown>, done: sendUnaryData<unknown>) => {
      const answered = async (): Promise<unknown> => {
        const caller = speakerOf(call, callerAt);
        admitRequest(path, admit(path, caller), caller, call.request);
        return answer(call.request, whenGone(call).signal, caller);
      };
      answered().then(
        (value) => done(null, value),
        (error: unknown) => done(toGrpcStatus(error)),
      );
    };
  }
  const stream = handler as (input: unknown, signal: AbortSignal, caller: Caller) => AsyncIterable<unknown>;
  return (call: ServerWritableStream<unknown, unknown> & ServerDuplexStream<unknown, unknown>) => {
    const gone = whenGone(call);
    const { signal } = gone;
    call.on('error', () => undefined);
    try {
      const caller = speakerOf(call, callerAt);
      const rights = admit(path, caller);
      const check = (request: unknown): void => admitRequest(path, rights, caller, request);
      if (!method.requestStream) check(call.request);
      const input = method.requestStream ? inbox(call, check) : call.request;
      const end = (reason: TsswarmError): void => {
        gone.abort(reason);
        call.emit('error', toGrpcStatus(reason));
      };
      const over = standing?.add({ path, caller, present: () => speakerOf(call, callerAt), end });
      void pump(call, stream(input, signal, caller), signal).finally(over);
    } catch (error) {
      call.emit('error', toGrpcStatus(error));
    }
  };
}

/** Who calls; for a call that a manager passes on, the one it is passed on for. */
function speakerOf(call: Call, callerAt: CallerAt): Caller {
  const direct = callerAt(call);
  const behalf = call.metadata.get(ON_BEHALF_KEY)[0];
  if (behalf === undefined) return direct;
  const named = decodeCaller(String(behalf));
  if (named !== undefined && direct.kind === 'node' && direct.role === 'manager')
    return { ...named, via: direct.nodeId };
  throw new TsswarmError(
    'PERMISSION_DENIED',
    `calling on behalf of "${String(behalf)}": only a manager passes calls on, not ${describeCaller(direct)}`,
  );
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

function whenGone(call: Call): AbortController {
  const controller = new AbortController();
  call.on('cancelled', () => controller.abort(new Error('the caller is gone')));
  return controller;
}
