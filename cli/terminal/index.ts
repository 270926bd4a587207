/** The terminal that a command was started at: its streams, and what may be written to them. */
import { createInterface } from 'node:readline/promises';
import { isatty } from 'node:tty';
import type { AnsiMode, Style } from '../render/style.ts';
import { ansiStyle, plainStyle, wantsAnsi } from '../render/style.ts';

export interface Terminal {
  /** Data, for people and pipes: standard output. */
  out(text: string): void;
  /** Progress, warnings, errors: standard error. */
  err(text: string): void;
  readonly outStyle: Style;
  readonly errStyle: Style;
  /** Escape sequences may be written to standard error: progress can be redrawn. */
  readonly redraws: boolean;
  /** Somebody can be asked. */
  readonly interactive: boolean;
  /** Asks a yes-or-no question; the answer to an empty line is `preset`. */
  confirm(question: string, preset: boolean): Promise<boolean>;
}

/** The process's own terminal. */
export function openTerminal(ansi: AnsiMode = 'auto'): Terminal {
  const { stdout, stderr, env } = process;
  for (const stream of [stdout, stderr]) endWithReader(stream);
  const outAnsi = wantsAnsi(ansi, stdout.isTTY, env);
  const errAnsi = wantsAnsi(ansi, stderr.isTTY, env);
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    outStyle: outAnsi ? ansiStyle : plainStyle,
    errStyle: errAnsi ? ansiStyle : plainStyle,
    redraws: stderr.isTTY && ansi !== 'never' && env['TERM'] !== 'dumb',
    // Not by `process.stdin`, which is costly to open and seldom needed.
    interactive: isatty(0) && stderr.isTTY,
    async confirm(question, preset) {
      const lines = createInterface({ input: process.stdin, output: stderr });
      try {
        const answer = (await lines.question(`${question} [${preset ? 'Y/n' : 'y/N'}] `)).trim().toLowerCase();
        return answer === '' ? preset : answer === 'y' || answer === 'yes';
      } finally {
        lines.close();
      }
    },
  };
}

const watched = new WeakSet<NodeJS.WriteStream>();

/** A reader that has gone (`tscompose logs | head`) ends the command quietly, as it ends other programs. */
function endWithReader(stream: NodeJS.WriteStream): void {
  if (watched.has(stream)) return;
  watched.add(stream);
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || error.code === 'EIO') process.exit(128 + 13);
    throw error;
  });
}
