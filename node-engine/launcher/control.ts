import { closeSync, constants, openSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { deferred } from '../../base/async.ts';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { ExitStatus, ProcessSession, TerminalSize } from '../types.ts';
import { signalNumber } from './failure.ts';
import { FrameDecoder, encodeFrame, encodeSize } from './frames.ts';
import type { RequestType } from './frames.ts';
import { OutputQueue } from './output-queue.ts';
import { readExit } from './state.ts';

/** sun_path holds 108 bytes with the final NUL (unix(7)). */
const LONGEST_SOCKET_PATH = 107;

/**
 * Attaches to a running container: its output from now on, and its stdin if it has one.
 * @throws CONTAINER_NOT_RUNNING
 */
export async function attachTo(runDir: string): Promise<ProcessSession> {
  const session = await ControlSession.open(runDir);
  session.send('A');
  return session;
}

/** Sends a signal ("SIGTERM", "15") to the main process. @throws CONTAINER_NOT_RUNNING, INVALID_INPUT */
export async function signalContainer(runDir: string, signal: string): Promise<void> {
  const number = signalNumber(signal);
  const socket = await connectTo(runDir);
  // The exit may be announced on this connection too: unread it would keep the socket from closing.
  socket.resume();
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    socket.end(encodeFrame('K', Uint8Array.of(number)));
  });
}

/** Tells the supervisor to open its log anew, after somebody moved the file away. @throws CONTAINER_NOT_RUNNING */
export async function reopenLog(runDir: string): Promise<void> {
  const socket = await connectTo(runDir);
  // The exit may be announced on this connection too: unread it would keep the socket from closing.
  socket.resume();
  await new Promise<void>((resolve) => {
    socket.once('close', () => resolve());
    socket.end(encodeFrame('L'));
  });
}

/**
 * Resolves when the container has ended and everything of it is gone; at once for an ended one.
 * @returns undefined when its supervisor is gone without having recorded an exit: it was killed
 */
export async function waitForExit(runDir: string, signal?: AbortSignal): Promise<ExitStatus | undefined> {
  let session: ControlSession;
  try {
    session = await ControlSession.open(runDir);
  } catch (error) {
    if (error instanceof TsswarmError && error.code === 'CONTAINER_NOT_RUNNING') return readExit(runDir);
    throw error;
  }
  const aborted = deferred<never>();
  const onAbort = (): void => aborted.reject(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    return await Promise.race([session.exit, aborted.promise]);
  } catch (error) {
    if (error instanceof TsswarmError && error.code === 'CONTAINER_NOT_RUNNING') return readExit(runDir);
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    session.close();
  }
}

class ControlSession implements ProcessSession {
  readonly output: OutputQueue;
  readonly exit: Promise<ExitStatus>;
  readonly #socket: Socket;
  readonly #exit = deferred<ExitStatus>();
  readonly #decoder = new FrameDecoder();
  #closed = false;

  static async open(runDir: string): Promise<ControlSession> {
    return new ControlSession(await connectTo(runDir), runDir);
  }

  private constructor(socket: Socket, runDir: string) {
    this.#socket = socket;
    this.exit = this.#exit.promise;
    // Not everybody asks for the exit; it must not take the process down then.
    this.exit.catch(() => undefined);
    this.output = new OutputQueue((flowing) => (flowing ? socket.resume() : socket.pause()));
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('close', () => void this.#ended(runDir));
  }

  send(type: RequestType, payload?: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(encodeFrame(type, payload));
  }

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new TsswarmError('CONTAINER_NOT_RUNNING', 'writing to the container: its control socket is closed'));
        return;
      }
      this.#socket.write(encodeFrame('I', data), (error) => (error ? reject(error) : resolve()));
    });
  }

  closeStdin(): void {
    this.send('C');
  }

  resize(size: TerminalSize): void {
    this.send('R', encodeSize(size.columns, size.rows));
  }

  kill(signal: string): void {
    this.send('K', Uint8Array.of(signalNumber(signal)));
  }

  close(): void {
    this.#closed = true;
    this.output.end();
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    try {
      for (const said of this.#decoder.push(chunk)) {
        if (said.type === 'output') this.output.push({ stream: said.stream, data: said.data });
        else this.#exit.resolve({ code: said.code, oomKilled: said.oomKilled, at: Date.now() });
      }
    } catch (error) {
      this.#socket.destroy(error as Error);
    }
  }

  /** The socket is closed: by the exit, by ourselves, or because we were too slow. */
  async #ended(runDir: string): Promise<void> {
    const recorded = readExit(runDir);
    if (recorded) {
      this.#exit.resolve(recorded);
      this.output.end();
      return;
    }
    if (this.#closed) {
      this.#exit.reject(new TsswarmError('CANCELLED', 'waiting for the container: the session was closed'));
      return;
    }
    // Dropped for reading too slowly, or the supervisor died: the output is torn, the exit may still be told.
    this.output.end(
      new TsswarmError('UNAVAILABLE', 'reading the container: its output came faster than it was read', {
        hint: 'read the log instead: it has every line',
      }),
    );
    try {
      const exit = await waitForExit(runDir);
      if (exit) this.#exit.resolve(exit);
      else this.#exit.reject(lost(runDir));
    } catch (error) {
      this.#exit.reject(error);
    }
  }
}

function lost(runDir: string): TsswarmError {
  return new TsswarmError(
    'CONTAINER_NOT_RUNNING',
    `waiting for the container "${runDir}": its supervisor is gone without having recorded an exit`,
  );
}

async function connectTo(runDir: string): Promise<Socket> {
  const path = join(runDir, 'control.sock');
  // A path that is too long for the kernel is reached by the directory's descriptor.
  let directory = -1;
  try {
    if (Buffer.byteLength(path) > LONGEST_SOCKET_PATH)
      directory = openSync(runDir, constants.O_RDONLY | constants.O_DIRECTORY);
    const reached = directory < 0 ? path : `/proc/self/fd/${directory}/control.sock`;
    return await new Promise<Socket>((resolve, reject) => {
      const socket = connect(reached);
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.removeListener('error', reject);
        // The supervisor may end at any moment: a reset is followed by 'close', which everybody listens to.
        socket.on('error', () => undefined);
        resolve(socket);
      });
    });
  } catch (cause) {
    const errno = errnoOf(cause);
    // ECONNRESET: it has ended between the connection and its acceptance.
    if (errno === 'ENOENT' || errno === 'ECONNREFUSED' || errno === 'ECONNRESET')
      throw new TsswarmError('CONTAINER_NOT_RUNNING', `connecting to "${path}": the container is not running`, {
        cause,
      });
    throw cause;
  } finally {
    if (directory >= 0) closeSync(directory);
  }
}
