import type { OutputChunk } from '../../../node-engine/types.ts';

/** Of a hook's output: the log is not rotated for it. */
const MOST_LOGGED_BYTES = 64 * 1024;
/** A longer line is cut into such pieces, as the container's own are. */
const LONGEST_LINE = 16 * 1024;

/** Whole lines of one stream that came together. */
export interface HookLines {
  readonly stream: OutputChunk['stream'];
  readonly lines: readonly string[];
}

/** Makes of what a hook says the lines that the container's log gets, each marked with the hook's moment. */
export class HookLog {
  readonly #mark: string;
  readonly #rest = { stdout: '', stderr: '' };
  readonly #decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };
  #left = MOST_LOGGED_BYTES;

  constructor(moment: string) {
    this.#mark = `[${moment}] `;
  }

  /** The lines that are whole with these bytes. */
  take({ stream, data }: OutputChunk): HookLines {
    if (this.#left <= 0) return { stream, lines: [] };
    const room = data.subarray(0, this.#left);
    this.#left -= data.length;
    const text = this.#rest[stream] + this.#decoders[stream].decode(room, { stream: true });
    const lines = text.split('\n');
    this.#rest[stream] = lines.pop() ?? '';
    while (this.#rest[stream].length > LONGEST_LINE) {
      lines.push(this.#rest[stream].slice(0, LONGEST_LINE));
      this.#rest[stream] = this.#rest[stream].slice(LONGEST_LINE);
    }
    if (this.#left <= 0) lines.push(...this.#take(stream), '… what it said beyond 64 KiB is left out');
    return { stream, lines: lines.map((line) => this.#marked(line)) };
  }

  /** Lines that nobody has ended. */
  finish(): readonly HookLines[] {
    return (['stdout', 'stderr'] as const).flatMap((stream) => {
      const lines = this.#take(stream).map((line) => this.#marked(line));
      return lines.length === 0 ? [] : [{ stream, lines }];
    });
  }

  /** A line about the hook itself. */
  remark(text: string): HookLines {
    return { stream: 'stderr', lines: text.split('\n').map((line) => this.#marked(line)) };
  }

  #take(stream: OutputChunk['stream']): readonly string[] {
    const rest = this.#rest[stream];
    this.#rest[stream] = '';
    return rest === '' ? [] : [rest];
  }

  #marked(line: string): string {
    return `${this.#mark}${line.replace(/\r$/, '')}`;
  }
}
