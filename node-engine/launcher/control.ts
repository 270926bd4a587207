import { closeSync, constants, openSync } from 'node:fs';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { deferred } from '../../base/async.ts';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { ExitStatus, ProcessSession, TerminalSize } from '../types.ts';
import { signalNumber } from './failure.ts';
import { FrameDecoder, encodeFrame, encodeRotation, encodeSize } from './frames.ts';
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
  const control = await ControlConnection.open(runDir);
  try {
    return new AttachedSession(control, await connectTo(runDir), runDir);
  } catch (error) {
    control.close();
    throw error;
  }
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
 * Has the log rotated at other sizes from now on.
 * @throws CONTAINER_NOT_RUNNING, NOT_SUPPORTED by a supervisor of an older version
 */
export async function limitLog(runDir: string, maxBytes: number, maxFiles: number): Promise<void> {
  const socket = await connectTo(runDir);
  const decoder = new FrameDecoder();
  const answered = deferred<boolean>();
  socket.on('data', (chunk: Buffer) => {
    if (decoder.push(chunk).some(({ type }) => type === 'done')) answered.resolve(true);
  });
  socket.once('close', () => answered.resolve(false));
  socket.write(encodeFrame('O', encodeRotation(maxBytes, maxFiles)));
  const isDone = await answered.promise;
  socket.destroy();
  if (isDone) return;
  throw new TsswarmError(
    'NOT_SUPPORTED',
    'changing the log options of a running container: its supervisor is of an older version and does not take them',
  );
}

/**
 * Resolves when the container has ended and everything of it is gone; at once for an ended one.
 * @returns undefined when its supervisor is gone without having recorded an exit: it was killed
 */
export async function waitForExit(runDir: string, signal?: AbortSignal): Promise<ExitStatus | undefined> {
  let control: ControlConnection;
  try {
    control = await ControlConnection.open(runDir);
  } catch (error) {
    if (error instanceof TsswarmError && error.code === 'CONTAINER_NOT_RUNNING') return readExit(runDir);
    throw error;
  }
  const aborted = deferred<never>();
  const onAbort = (): void => aborted.reject(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    signal?.throwIfAborted();
    return await Promise.race([control.exit, aborted.promise]);
  } catch (error) {
    if (error instanceof TsswarmError && error.code === 'CONTAINER_NOT_RUNNING') return readExit(runDir);
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    control.close();
  }
}

/** A connection that asks for no output: nothing on it waits for a slow reader, so that the exit comes at once. */
class ControlConnection {
  readonly exit: Promise<ExitStatus>;
  readonly #socket: Socket;
  readonly #exit = deferred<ExitStatus>();
  #closed = false;

  static async open(runDir: string): Promise<ControlConnection> {
    return new ControlConnection(await connectTo(runDir), runDir);
  }

  private constructor(socket: Socket, runDir: string) {
    this.#socket = socket;
    this.exit = this.#exit.promise;
    // Not everybody asks for the exit; it must not take the process down then.
    this.exit.catch(() => undefined);
    const decoder = new FrameDecoder();
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const said of decoder.push(chunk)) if (said.type === 'exit') this.#exit.resolve(announced(said, runDir));
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.on('close', () => {
      const recorded = readExit(runDir);
      if (recorded) this.#exit.resolve(recorded);
      else if (this.#closed)
        this.#exit.reject(new TsswarmError('CANCELLED', 'waiting for the container: it was given up'));
      else this.#exit.reject(lost(runDir));
    });
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

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }
}

class AttachedSession implements ProcessSession {
  readonly output: OutputQueue;
  readonly exit: Promise<ExitStatus>;
  readonly #control: ControlConnection;
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder();

  /** @param socket a second connection, for the output: the supervisor drops it when it is read too slowly */
  constructor(control: ControlConnection, socket: Socket, runDir: string) {
    this.#control = control;
    this.#socket = socket;
    this.exit = control.exit;
    this.output = new OutputQueue((flowing) => (flowing ? socket.resume() : socket.pause()));
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('close', () => this.output.end(readExit(runDir) ? undefined : torn()));
    socket.write(encodeFrame('A'));
  }

  write(data: Uint8Array): Promise<void> {
    return this.#control.write(data);
  }

  closeStdin(): void {
    this.#control.send('C');
  }

  resize(size: TerminalSize): void {
    this.#control.send('R', encodeSize(size.columns, size.rows));
  }

  kill(signal: string): void {
    this.#control.send('K', Uint8Array.of(signalNumber(signal)));
  }

  close(): void {
    this.output.end();
    this.#socket.destroy();
    this.#control.close();
  }

  #take(chunk: Buffer): void {
    try {
      for (const said of this.#decoder.push(chunk)) {
        if (said.type === 'output') this.output.push({ stream: said.stream, data: said.data });
        // The last frame. What was not whole before it has not been lost by us.
        else if (said.type === 'exit') this.output.end();
      }
    } catch (error) {
      this.#socket.destroy(error as Error);
    }
  }
}

/** The record was written before the announcement and knows more; a start since then has removed it. */
function announced({ code, oomKilled }: { code: number; oomKilled: boolean }, runDir: string): ExitStatus {
  return readExit(runDir) ?? { code, oomKilled, at: Date.now() };
}

function torn(): TsswarmError {
  return new TsswarmError('UNAVAILABLE', 'reading the container: its output came faster than it was read', {
    hint: 'read the log instead: it has every line',
  });
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
