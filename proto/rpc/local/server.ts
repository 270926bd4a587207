import type { Socket } from 'node:net';
import { TsswarmError } from '../../../base/errors.ts';
import { LOCAL_CALLER } from '../caller.ts';
import type { Caller } from '../caller.ts';
import { admit } from '../callers.ts';
import type { ServiceHandlers } from '../server.ts';
import { codec } from '../../codec/message.ts';
import type { Method } from '../services.ts';
import { encodeFailure } from './failure.ts';
import { Inbox, SendWindow } from './flow.ts';
import { FrameKind, FrameReader, PREFACE, decodePath, encodeCredit, encodeFrame } from './frames.ts';
import type { Frame } from './frames.ts';
import { decodeValue, encodeValue } from './values.ts';

type AnyMethod = Method<unknown, unknown, boolean, boolean>;
type Handler = (input: unknown, signal: AbortSignal, caller: Caller) => unknown;

/** Serves the calls of local connections; who may connect is the socket's file mode. */
export interface LocalServer {
  add<S extends Readonly<Record<string, object>>>(definition: S, handlers: ServiceHandlers<S>): void;
  /** Takes over an accepted socket. @param first what was read from it already, the preface at its front */
  serve(socket: Socket, first: Buffer): void;
  /** Ends all connections at once. */
  close(): void;
}

/** One call under way. */
interface ServedCall {
  readonly inbox: Inbox<unknown>;
  readonly window: SendWindow;
  readonly life: AbortController;
}

/**
 * A request as it would have come over gRPC: defaults filled in, what is not in the message left out. The store compares what
 * it is given with what it keeps.
 */
function canonical(method: AnyMethod, value: unknown): object {
  const { encode, decode } = codec<object>(method.request);
  return decode(encode(value as object));
}

/** Makes a server without services. */
export function createLocalServer(): LocalServer {
  const methods = new Map<string, { readonly method: AnyMethod; readonly handler: Handler }>();
  const sockets = new Set<Socket>();
  return {
    add(definition, handlers) {
      for (const [name, value] of Object.entries(definition)) {
        const method = value as AnyMethod;
        methods.set(method.path, {
          method,
          handler: (handlers as unknown as Record<string, Handler>)[name] as Handler,
        });
      }
    },
    serve(socket, first) {
      sockets.add(socket);
      const calls = new Map<number, ServedCall>();
      const reader = new FrameReader();
      const end = (): void => {
        sockets.delete(socket);
        for (const call of calls.values()) abandon(call);
        calls.clear();
      };
      const take = (chunk: Buffer): void => {
        try {
          for (const frame of reader.push(chunk)) serveFrame(frame, socket, calls, methods);
        } catch {
          // A caller of another version has read our preface, and knows what to do.
          socket.destroySoon();
        }
      };
      socket.on('error', () => undefined);
      socket.on('close', end);
      socket.on('data', take);
      socket.write(PREFACE);
      take(first);
      socket.resume();
    },
    close() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function serveFrame(
  { kind, callId, body }: Frame,
  socket: Socket,
  calls: Map<number, ServedCall>,
  methods: ReadonlyMap<string, { readonly method: AnyMethod; readonly handler: Handler }>,
): void {
  const known = calls.get(callId);
  switch (kind) {
    case FrameKind.call:
    case FrameKind.openStream: {
      const { path, message } = decodePath(body);
      const found = methods.get(path);
      if (found === undefined) {
        const failure = new TsswarmError('NOT_SUPPORTED', `calling "${path}": this node has no such method`, {
          hint: 'the command and the node are of different versions: see "tsswarm version" and "tsswarm status"',
        });
        socket.write(encodeFrame(FrameKind.failure, callId, encodeFailure(failure)));
        return;
      }
      const call: ServedCall = {
        inbox: new Inbox(decodeValue, (bytes) => void socket.write(encodeCredit(callId, bytes))),
        window: new SendWindow(),
        life: new AbortController(),
      };
      calls.set(callId, call);
      void answer(found.method, found.handler, message, call, callId, socket).finally(() => calls.delete(callId));
      return;
    }
    case FrameKind.message:
      return known?.inbox.push(body);
    case FrameKind.endOfMessages:
      return known?.inbox.end();
    case FrameKind.credit:
      return known?.window.credit(body.readUInt32BE());
    case FrameKind.cancel:
      if (known !== undefined) abandon(known);
  }
}

function abandon({ inbox, window, life }: ServedCall): void {
  const gone = new Error('the caller is gone');
  life.abort(gone);
  window.close();
  inbox.end(gone);
}

/** Runs the handler and sends what it says; never throws. */
async function answer(
  method: AnyMethod,
  handler: Handler,
  message: Buffer,
  { inbox, window, life }: ServedCall,
  callId: number,
  socket: Socket,
): Promise<void> {
  try {
    admit(method.path, LOCAL_CALLER);
    const input = method.requestStream ? inbox : canonical(method, decodeValue(message));
    if (!method.responseStream) {
      const value = await (handler(input, life.signal, LOCAL_CALLER) as Promise<unknown>);
      if (!life.signal.aborted) socket.write(encodeFrame(FrameKind.answer, callId, encodeValue(value)));
      return;
    }
    for await (const value of handler(input, life.signal, LOCAL_CALLER) as AsyncIterable<unknown>) {
      if (life.signal.aborted) return;
      const bytes = encodeValue(value);
      if (!(await window.reserve(bytes.length))) return;
      socket.write(encodeFrame(FrameKind.message, callId, bytes));
    }
    if (!life.signal.aborted) socket.write(encodeFrame(FrameKind.done, callId));
  } catch (error) {
    if (!life.signal.aborted) socket.write(encodeFrame(FrameKind.failure, callId, encodeFailure(error)));
  }
}
