import { connect as connectSocket } from 'node:net';
import type { Socket } from 'node:net';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
import type { Connection, DuplexCall, ServiceClient } from '../client.ts';
import type { Method } from '../services.ts';
import { decodeFailure } from './failure.ts';
import { Inbox, SendWindow } from './flow.ts';
import { FrameKind, FrameReader, PREFACE, encodeCredit, encodeFrame, encodePath } from './frames.ts';
import { decodeValue, encodeValue } from './values.ts';
import type { Frame } from './frames.ts';

type AnyMethod = Method<unknown, unknown, boolean, boolean>;

/** A connection over a unix socket; like gRPC's it is made when it is needed, and made again after it was lost. */
export interface LocalConnection extends Connection {
  /**
   * Resolves when the other side has answered and knows the same messages.
   * @throws the error of connect(2), with its `code`; OtherShapeError
   */
  ready(): Promise<void>;
}

/** One call under way, as the connection sees it. */
interface OpenCall {
  message(body: Buffer): void;
  /** @param error absent: the call ended as it should */
  end(error?: Error): void;
  readonly window: SendWindow;
}

/** Calls the services behind the unix socket at `path`. */
export function connectLocal(path: string): LocalConnection {
  const calls = new Map<number, OpenCall>();
  let socket: Socket | undefined;
  let opening: Promise<void> = Promise.resolve();
  let lastId = 0;

  const lose = (from: Socket, cause?: Error): void => {
    if (socket !== from) return;
    socket = undefined;
    // Only that the node is not there, or went away, helps the user.
    const lost = new TsswarmError('UNAVAILABLE', 'talking to the node: the connection is lost', {
      ...(cause === undefined ? {} : { cause }),
      hint: 'see "tsswarm status"',
    });
    const open = [...calls.values()];
    calls.clear();
    for (const call of open) call.end(lost);
  };
  const take = ({ kind, callId, body }: Frame): void => {
    const call = calls.get(callId);
    if (call === undefined) return;
    switch (kind) {
      case FrameKind.message:
        return call.message(body);
      case FrameKind.credit:
        return call.window.credit(body.readUInt32BE());
      case FrameKind.answer:
        calls.delete(callId);
        call.message(body);
        return call.end();
      case FrameKind.done:
        calls.delete(callId);
        return call.end();
      case FrameKind.failure:
        calls.delete(callId);
        return call.end(decodeFailure(body));
    }
  };
  const open = (): Socket => {
    if (socket !== undefined) return socket;
    const reader = new FrameReader();
    const made = connectSocket(path);
    socket = made;
    const opened = Promise.withResolvers<void>();
    opening = opened.promise;
    opening.catch(() => undefined);
    made.on('error', (error) => {
      opened.reject(error);
      lose(made, error);
    });
    made.on('close', () => {
      opened.reject(new Error('the connection was closed'));
      lose(made);
    });
    made.on('data', (chunk: Buffer) => {
      try {
        const frames = reader.push(chunk);
        if (reader.greeted) opened.resolve();
        for (const frame of frames) take(frame);
      } catch (error) {
        made.destroy(error instanceof Error ? error : new Error(messageOf(error)));
      }
    });
    made.write(PREFACE);
    return made;
  };
  const send = (frame: Buffer): void => void socket?.write(frame);
  const begin = (kind: number, path: string, call: OpenCall, message?: Buffer): number => {
    lastId = (lastId + 1) >>> 0;
    calls.set(lastId, call);
    open().write(encodeFrame(kind, lastId, encodePath(path), ...(message === undefined ? [] : [message])));
    return lastId;
  };
  const cancel = (callId: number): void => {
    const call = calls.get(callId);
    if (call === undefined) return;
    calls.delete(callId);
    call.window.close();
    send(encodeFrame(FrameKind.cancel, callId));
  };

  const unary = (method: AnyMethod) => (request: unknown, signal?: AbortSignal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      let answer: Buffer | undefined;
      const abort = (): void => {
        cancel(callId);
        reject(signal?.reason as Error);
      };
      const call: OpenCall = {
        window: new SendWindow(),
        message: (body) => (answer = body),
        end(error) {
          signal?.removeEventListener('abort', abort);
          if (error !== undefined || answer === undefined) return reject(error ?? new Error('no answer'));
          try {
            resolve(decodeValue(answer));
          } catch (failure) {
            reject(failure as Error);
          }
        },
      };
      const callId = begin(FrameKind.call, method.path, call, encodeValue(request));
      signal?.addEventListener('abort', abort, { once: true });
    });

  const streaming = (method: AnyMethod) =>
    async function* (request: unknown, signal?: AbortSignal) {
      signal?.throwIfAborted();
      const inbox = new Inbox(decodeValue, (bytes) => send(encodeCredit(callId, bytes)));
      const call: OpenCall = {
        window: new SendWindow(),
        message: (body) => inbox.push(body),
        end: (error) => inbox.end(error),
      };
      const callId = begin(FrameKind.call, method.path, call, encodeValue(request));
      const abort = (): void => {
        cancel(callId);
        inbox.end(signal?.reason as Error);
      };
      signal?.addEventListener('abort', abort, { once: true });
      try {
        for await (const value of inbox) {
          // What lies ready is not handed out any more once the caller has turned away.
          signal?.throwIfAborted();
          yield value;
        }
      } finally {
        signal?.removeEventListener('abort', abort);
        cancel(callId);
      }
    };

  const duplex =
    (method: AnyMethod) =>
    (signal?: AbortSignal): DuplexCall<unknown, unknown> => {
      signal?.throwIfAborted();
      const window = new SendWindow();
      const inbox = new Inbox(decodeValue, (bytes) => send(encodeCredit(callId, bytes)));
      let ended = false;
      const closed = Promise.withResolvers<void>();
      const end = (error?: Error): void => {
        signal?.removeEventListener('abort', abort);
        window.close();
        inbox.end(error);
        closed.resolve();
      };
      const callId = begin(FrameKind.openStream, method.path, { window, message: (body) => inbox.push(body), end });
      const abort = (): void => {
        cancel(callId);
        end(signal?.reason as Error);
      };
      signal?.addEventListener('abort', abort, { once: true });
      // Messages go out in the order in which they were handed over, also when one has to wait.
      let tail: Promise<unknown> = Promise.resolve();
      return {
        send(message) {
          const bytes = encodeValue(message);
          const sent = tail.then(async () => {
            if (ended || !calls.has(callId) || !(await window.reserve(bytes.length))) {
              throw new TsswarmError('CANCELLED', 'sending a message: the stream has ended');
            }
            send(encodeFrame(FrameKind.message, callId, bytes));
          });
          tail = sent.catch(() => undefined);
          return sent;
        },
        end: () =>
          void tail.then(() => {
            if (!ended && calls.has(callId)) send(encodeFrame(FrameKind.endOfMessages, callId));
            ended = true;
          }),
        cancel: () => {
          cancel(callId);
          end(new TsswarmError('CANCELLED', 'reading a stream: it was cancelled'));
        },
        output: inbox,
        closed: closed.promise,
      };
    };

  return {
    ready: () => (open(), opening),
    service<S extends Readonly<Record<string, object>>>(definition: S) {
      const client = Object.entries(definition).map(([name, value]) => {
        const method = value as AnyMethod;
        const bind = method.requestStream ? duplex : method.responseStream ? streaming : unary;
        return [name, bind(method)];
      });
      return Object.fromEntries(client) as ServiceClient<S>;
    },
    close() {
      socket?.destroy();
    },
  };
}
