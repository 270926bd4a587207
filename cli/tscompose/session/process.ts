import { spawnSync } from 'node:child_process';
import { TsswarmError } from '../../../base/errors.ts';
import type { DuplexCall } from '../../../proto/rpc/client.ts';
import type { ProcessInput, ProcessOutput } from '../../../proto/types/index.ts';
import { DetachWatch } from './detach-keys.ts';

export interface SessionOptions {
  readonly call: DuplexCall<ProcessInput, ProcessOutput>;
  /** What is executed or attached to. */
  readonly first: ProcessInput;
  /** The process has a terminal: ours is made raw and every key is its own. */
  readonly tty: boolean;
  /** Send standard input. */
  readonly interactive: boolean;
  /**
   * Until then the process may not have been started, and signals are the caller's business; afterwards they are the process's.
   * Its error ends the session. Absent: it runs already.
   */
  readonly started?: Promise<unknown>;
  /** Typed at a terminal they leave the process alone. Absent: nothing does. */
  readonly detachKeys?: Uint8Array;
  /** The end of our input is not the process's. */
  readonly keepStdinOpen?: boolean;
  /** false: signals end us, not the process. */
  readonly forwardsSignals?: boolean;
}

const FORWARDED_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

/**
 * Connects this terminal (or these pipes) to a process in a container until it ends.
 * @returns its exit code
 * @throws what the node says; UNAVAILABLE when the connection ends before the process
 */
export async function runSession(options: SessionOptions): Promise<number> {
  const { call, tty, interactive } = options;
  const { stdin, stdout } = process;
  const raw = tty && interactive && stdin.isTTY;
  /** What could not be sent any more has nobody to receive it: the end is told by `output`. */
  const send = (message: ProcessInput): void => void call.send(message).catch(() => undefined);
  const onResize = (): void => send({ resize: terminalSize() });
  const onSignal = (signal: NodeJS.Signals): void => send({ signal });
  send(options.first);
  if (raw) makeRaw();
  if (tty) stdout.on('resize', onResize);
  const forwardSignals = (): void => {
    if (options.forwardsSignals !== false) FORWARDED_SIGNALS.forEach((name) => void process.on(name, onSignal));
  };
  let ended = false;
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => undefined);
  if (options.started === undefined) forwardSignals();
  else
    options.started.then(
      () => ended || forwardSignals(),
      (error: unknown) => failed.reject(error),
    );
  const detached = Promise.withResolvers<number>();
  const input = interactive ? sendInput(options, () => detached.resolve(0)) : undefined;
  if (!interactive && options.keepStdinOpen !== true) send({ closeStdin: true });
  try {
    return await Promise.race([relayOutput(call.output), failed.promise, detached.promise]);
  } finally {
    ended = true;
    input?.stop();
    if (raw) stdin.setRawMode(false);
    stdout.removeListener('resize', onResize);
    for (const name of FORWARDED_SIGNALS) process.removeListener(name, onSignal);
    // An end would be the process's; a caller that only leaves says none.
    if (options.keepStdinOpen === true) call.cancel();
    else call.end();
  }
}

/** Writes what the process says, until it ends. @returns its exit code */
async function relayOutput(outputs: AsyncIterable<ProcessOutput>): Promise<number> {
  for await (const output of outputs) {
    if (output.stdout !== undefined) await write(process.stdout, output.stdout);
    if (output.stderr !== undefined) await write(process.stderr, output.stderr);
    if (output.exit !== undefined) return output.exit.code;
  }
  throw new TsswarmError('UNAVAILABLE', 'following the process: the connection to the node ended before it');
}

/**
 * Hands every byte through in both directions. Node's raw mode leaves the terminal turning "\n" into "\r\n" (libuv,
 * uv_tty_set_mode), which the container's terminal does already: full-screen programs would be garbled. Leaving raw mode
 * brings everything back as it was.
 */
function makeRaw(): void {
  process.stdin.setRawMode(true);
  spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
}

/** Size of this terminal; 80×24 when there is none. */
export function terminalSize(): { readonly columns: number; readonly rows: number } {
  return { columns: process.stdout.columns ?? 80, rows: process.stdout.rows ?? 24 };
}

/** Sends standard input as the process takes it, then its end. */
function sendInput({ call, tty, detachKeys, keepStdinOpen }: SessionOptions, detach: () => void): { stop(): void } {
  const { stdin } = process;
  const keys = new DetachWatch(tty && detachKeys !== undefined ? detachKeys : new Uint8Array());
  let stopped = false;
  const pump = async (): Promise<void> => {
    for await (const chunk of stdin) {
      if (stopped) return;
      const { send, detached } = keys.take(chunk as Buffer);
      if (send.length > 0) await call.send({ stdin: send });
      if (detached) return detach();
    }
    if (!stopped && keepStdinOpen !== true) await call.send({ closeStdin: true });
  };
  pump().catch(() => undefined);
  return {
    stop() {
      stopped = true;
      stdin.pause();
      stdin.unref?.();
    },
  };
}

function write(stream: NodeJS.WriteStream, data: Uint8Array): Promise<void> | undefined {
  if (stream.write(data)) return undefined;
  return new Promise((resolve) => stream.once('drain', () => resolve()));
}
