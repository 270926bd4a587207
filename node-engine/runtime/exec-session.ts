import { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import { parseSignal } from '../../base/signals.ts';
import { encodeFrame, encodeSize } from '../launcher/frames.ts';
import { parseFailure } from '../launcher/failure.ts';
import { OutputQueue } from '../launcher/output-queue.ts';
import type { StartedProgram } from '../native/addon.ts';
import { startProgram } from '../native/addon.ts';
import type { ExitStatus, ProcessSession, TerminalSize } from '../types.ts';
import type { ExecLaunch } from './ports.ts';
import { LaunchError } from './ports.ts';

/** Descriptors of the launcher's exec mode beside the three standard ones: sizes of the terminal, and why it failed. */
const SIZE_FD = 3;
const FAILURE_FD = 4;
/** Docker's exit code for a failure before the command ran. */
const NOT_RUN = 125;

/**
 * Executes a command in a container by the launcher. Resolves when the command runs.
 * @throws LaunchError, RUNTIME_FAILED when the launcher itself cannot be run
 */
export async function execInContainer(program: string, request: ExecLaunch): Promise<ProcessSession> {
  const { runDir, processPath, tty, stdin, seccompPath, size } = request;
  const args = ['exec', '--run-dir', runDir, '--process', processPath];
  if (tty) args.push('--tty');
  if (seccompPath !== '') args.push('--seccomp-bpf', seccompPath);
  let started: StartedProgram;
  try {
    const kinds = [stdin, true, true, tty, true].map((isThere) => (isThere ? 'socket' : 'nothing'));
    started = startProgram(program, args, kinds);
  } catch (cause) {
    throw new TsswarmError('RUNTIME_FAILED', `executing in a container: running "${program}": ${messageOf(cause)}`, {
      cause,
    });
  }
  const session = new ExecSession(started);
  // The launcher closes this descriptor when the command is executed.
  const said = await session.failure;
  if (said !== '') {
    session.close();
    const failure = parseFailure(said) ?? { stage: 'process', path: '', errno: '', message: said.trim() };
    throw new LaunchError(failure);
  }
  if (size) session.resize(size);
  return session;
}

class ExecSession implements ProcessSession {
  readonly output: OutputQueue;
  readonly exit: Promise<ExitStatus>;
  /** What the launcher says of a command that it could not execute; empty: it is executed. */
  readonly failure: Promise<string>;
  readonly #pid: number;
  readonly #sockets: readonly (Socket | undefined)[];
  #hasEnded = false;

  constructor({ pid, fds, ended }: StartedProgram) {
    this.#pid = pid;
    this.#sockets = fds.map((fd) => (fd < 0 ? undefined : new Socket({ fd, readable: true, writable: true })));
    const [, stdout, stderr] = this.#sockets;
    const failure = this.#sockets[FAILURE_FD];
    const streams = [stdout, stderr] as const;
    const flow = (flowing: boolean): void =>
      streams.forEach((stream) => (flowing ? stream?.resume() : stream?.pause()));
    this.output = new OutputQueue(flow);
    this.#listen(stdout, 'stdout');
    this.#listen(stderr, 'stderr');
    for (const socket of this.#sockets) socket?.on('error', () => undefined);
    this.failure = failure === undefined ? Promise.resolve('') : text(failure).catch(() => '');
    this.exit = ended.then(
      ({ code, signal }) => {
        this.#hasEnded = true;
        return { code: signal === 0 ? code : 128 + signal, oomKilled: false, at: Date.now() };
      },
      () => {
        this.#hasEnded = true;
        return { code: NOT_RUN, oomKilled: false, at: Date.now() };
      },
    );
    const closed = streams.map((stream) => new Promise((resolve) => stream?.once('close', resolve)));
    void Promise.all([this.exit, ...closed]).then(() => this.output.end());
    // What goes to the program only tells of its end when it is written to.
    void this.exit.then(() => [this.#sockets[0], this.#sockets[SIZE_FD]].forEach((socket) => socket?.destroy()));
  }

  write(data: Uint8Array): Promise<void> {
    const [stdin] = this.#sockets;
    return new Promise((resolve, reject) => {
      if (!stdin?.writable) {
        reject(new TsswarmError('CONTAINER_NOT_RUNNING', 'writing to an executed command: its stdin is closed'));
        return;
      }
      stdin.write(data, (error) => (error ? reject(error) : resolve()));
    });
  }

  closeStdin(): void {
    this.#sockets[0]?.end();
  }

  resize({ columns, rows }: TerminalSize): void {
    const sizes = this.#sockets[SIZE_FD];
    if (sizes?.writable === true) sizes.write(encodeFrame('R', encodeSize(columns, rows)));
  }

  kill(signal: string): void {
    const number = parseSignal(signal);
    if (!this.#hasEnded) process.kill(this.#pid, number);
  }

  close(): void {
    this.output.end();
    // The launcher kills and reaps the command when nobody reads it any more. Killed itself, it would leave the reaping to
    // the machine's init, and the end of the container would wait for that.
    for (const socket of this.#sockets) socket?.destroy();
  }

  #listen(stream: Socket | undefined, name: 'stdout' | 'stderr'): void {
    stream?.on('data', (data: Buffer) => this.output.push({ stream: name, data }));
  }
}
