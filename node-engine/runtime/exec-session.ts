import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { deferred } from '../../base/async.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import { parseSignal } from '../../base/signals.ts';
import { encodeFrame, encodeSize } from '../launcher/frames.ts';
import { parseFailure } from '../launcher/failure.ts';
import { OutputQueue } from '../launcher/output-queue.ts';
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
  const child = spawn(program, args, {
    stdio: [stdin ? 'pipe' : 'ignore', 'pipe', 'pipe', tty ? 'pipe' : 'ignore', 'pipe'],
    env: {},
  });
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  const session = new ExecSession(child);
  let said: string;
  try {
    // The launcher closes this descriptor when the command is executed.
    said = await Promise.race([text(child.stdio[FAILURE_FD] as Readable), failed]);
  } catch (cause) {
    throw new TsswarmError('RUNTIME_FAILED', `executing in a container: running "${program}": ${messageOf(cause)}`, {
      cause,
    });
  }
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
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
    const streams = [child.stdout, child.stderr] as const;
    const flow = (flowing: boolean): void =>
      streams.forEach((stream) => (flowing ? stream?.resume() : stream?.pause()));
    this.output = new OutputQueue(flow);
    this.#listen(child.stdout, 'stdout');
    this.#listen(child.stderr, 'stderr');
    for (const stream of child.stdio) stream?.on('error', () => undefined);
    const exit = deferred<ExitStatus>();
    child.once('exit', (code, signal) =>
      exit.resolve({ code: exitCode(code, signal), oomKilled: false, at: Date.now() }),
    );
    child.once('error', () => exit.resolve({ code: NOT_RUN, oomKilled: false, at: Date.now() }));
    // 'close' comes when both streams have ended too.
    child.once('close', () => this.output.end());
    this.exit = exit.promise;
  }

  write(data: Uint8Array): Promise<void> {
    const { stdin } = this.#child;
    return new Promise((resolve, reject) => {
      if (!stdin?.writable) {
        reject(new TsswarmError('CONTAINER_NOT_RUNNING', 'writing to an executed command: its stdin is closed'));
        return;
      }
      stdin.write(data, (error) => (error ? reject(error) : resolve()));
    });
  }

  closeStdin(): void {
    this.#child.stdin?.end();
  }

  resize({ columns, rows }: TerminalSize): void {
    const sizes = this.#child.stdio[SIZE_FD] as Writable | null;
    if (sizes?.writable) sizes.write(encodeFrame('R', encodeSize(columns, rows)));
  }

  kill(signal: string): void {
    this.#child.kill(parseSignal(signal));
  }

  close(): void {
    this.output.end();
    // The launcher kills and reaps the command when nobody reads it any more. Killed itself, it would leave the reaping to
    // the machine's init, and the end of the container would wait for that.
    for (const stream of this.#child.stdio) stream?.destroy();
  }

  #listen(stream: Readable | null, name: 'stdout' | 'stderr'): void {
    stream?.on('data', (data: Buffer) => this.output.push({ stream: name, data }));
  }
}

function exitCode(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (signal ? constants.signals[signal] : 0);
}
