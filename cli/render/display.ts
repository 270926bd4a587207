import type { ProgressRow, TimedRow } from './progress.ts';
import { SPINNER_STEP_MS, renderBlock, renderPlainRow, timeRows } from './progress.ts';
import type { Style } from './style.ts';

export type ProgressMode = 'tty' | 'plain' | 'json' | 'quiet';

/** Where progress is shown: standard error in production. */
export interface ProgressStream {
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

export interface DisplayOptions {
  readonly mode: ProgressMode;
  readonly stream: ProgressStream;
  readonly style: Style;
  /** "Running": the word in the heading. */
  readonly title: string;
  /** Put in front of every line, "DRY-RUN MODE - ". */
  readonly prefix?: string;
}

/** Shows rows as they change. */
export interface ProgressDisplay {
  update(rows: readonly ProgressRow[]): void;
  /** Takes the block away while `write` writes something that stays, and draws it again below. */
  interject(write: () => void): void;
  /** Draws the last state and lets go of the terminal. Doing it twice is allowed. */
  close(): void;
}

/** Opens a display; nothing is drawn before the first row. */
export function openDisplay(options: DisplayOptions): ProgressDisplay {
  switch (options.mode) {
    case 'tty':
      return new TerminalDisplay(options);
    case 'plain':
    case 'json':
      return lineDisplay(options);
    case 'quiet':
      return { update() {}, interject: (write) => write(), close() {} };
  }
}

/** Tells each change of a row's status once, as a line. */
function lineDisplay({ mode, stream, prefix = '' }: DisplayOptions): ProgressDisplay {
  const told = new Map<string, string>();
  return {
    update(rows) {
      for (const row of rows) {
        const text = row.quiet === true ? row.status : `${row.status} ${row.detail ?? ''}`;
        // What is below another row is for the eye: bytes of layers, ten times a second.
        if (told.get(row.key) === text || (row.indent === true && mode === 'plain')) continue;
        told.set(row.key, text);
        if (mode === 'json') {
          const { label: id, status, phase, detail } = row;
          stream.write(`${JSON.stringify({ id, status, phase, ...(detail === undefined ? {} : { detail }) })}\n`);
        } else stream.write(`${prefix}${renderPlainRow(row)}\n`);
      }
    },
    interject: (write) => write(),
    close() {},
  };
}

const UP_AND_CLEAR_BELOW = (lines: number): string => (lines === 0 ? '' : `\u001b[${lines}A\r\u001b[J`);
const SHORTEST_REDRAW_MS = 40;
const HIDE_CURSOR = '\u001b[?25l';
const SHOW_CURSOR = '\u001b[?25h';

/** Redraws the block in place, ten times a second while something goes on. */
class TerminalDisplay implements ProgressDisplay {
  readonly #options: DisplayOptions;
  #rows: ReadonlyMap<string, TimedRow> = new Map();
  #drawn = 0;
  #drawnAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  readonly #showCursor = (): void => void this.#options.stream.write(SHOW_CURSOR);

  constructor(options: DisplayOptions) {
    this.#options = options;
  }

  update(rows: readonly ProgressRow[]): void {
    if (this.#closed || (rows.length === 0 && this.#rows.size === 0)) return;
    this.#rows = timeRows(rows, this.#rows, performance.now());
    if (this.#timer === undefined) {
      this.#options.stream.write(HIDE_CURSOR);
      process.once('exit', this.#showCursor);
      this.#timer = setInterval(() => this.#draw(), SPINNER_STEP_MS);
      this.#timer.unref();
    }
    // A burst of changes (a hundred containers) is drawn a few times, not once each: the timer comes by soon.
    if (performance.now() - this.#drawnAt >= SHORTEST_REDRAW_MS) this.#draw();
  }

  interject(write: () => void): void {
    if (this.#closed || this.#drawn === 0) return write();
    this.#options.stream.write(UP_AND_CLEAR_BELOW(this.#drawn));
    this.#drawn = 0;
    write();
    this.#draw();
  }

  close(): void {
    if (this.#closed) return;
    if (this.#rows.size > 0) this.#draw(true);
    this.#closed = true;
    clearInterval(this.#timer);
    if (this.#timer === undefined) return;
    process.removeListener('exit', this.#showCursor);
    this.#showCursor();
  }

  /** @param complete draw every row, also beyond the height of the terminal: it is the last time */
  #draw(complete = false): void {
    const { stream, style, title, prefix = '' } = this.#options;
    const lines = renderBlock(title, [...this.#rows.values()], {
      width: (stream.columns ?? 80) - prefix.length,
      height: complete ? Infinity : (stream.rows ?? 24),
      now: performance.now(),
      style,
    });
    const text = lines.map((line) => `${prefix}${line}\n`).join('');
    stream.write(UP_AND_CLEAR_BELOW(this.#drawn) + text);
    this.#drawn = lines.length;
    this.#drawnAt = performance.now();
  }
}
