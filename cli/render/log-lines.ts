import type { Look, Style } from './style.ts';
import { SERVICE_LOOKS } from './style.ts';
import { padTo } from './width.ts';

/** A line that never ends is printed in pieces of this size. */
const LONGEST_LINE = 256 * 1024;

/** Something that logs: a container of a service. */
export interface LogSource {
  /** "web-1" */
  readonly name: string;
  /** "web": containers of one service share a colour. */
  readonly service: string;
}

export interface LogLineOptions {
  readonly style: Style;
  readonly withPrefix: boolean;
  readonly withTime: boolean;
  /** Known beforehand, so that prefixes are aligned from the first line on. More may come. */
  readonly sources: readonly LogSource[];
}

/**
 * Turns pieces of output of many containers into whole lines, each with its prefix "name  | " padded to the longest and
 * coloured by service. Pure: what comes in goes out as text to write.
 */
export class LogLines {
  readonly #options: LogLineOptions;
  readonly #looks = new Map<string, Look>();
  readonly #open = new Map<string, { time: string; parts: Uint8Array[]; size: number }>();
  #width = 0;

  constructor(options: LogLineOptions) {
    this.#options = options;
    for (const source of options.sources) this.#learn(source);
  }

  /**
   * Takes a piece of one stream of a source and gives back the lines it completes.
   * @param time RFC 3339, of the piece
   */
  take(source: LogSource, stream: string, time: string, data: Uint8Array): string {
    const key = `${source.name}\0${stream}`;
    const line = this.#open.get(key) ?? { time, parts: [], size: 0 };
    let text = '';
    let start = 0;
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, start)) {
      line.parts.push(data.subarray(start, end));
      text += this.#format(source, line.size === 0 ? time : line.time, line.parts);
      Object.assign(line, { time, parts: [], size: 0 });
      start = end + 1;
    }
    if (start < data.length) {
      if (line.size === 0) line.time = time;
      line.parts.push(data.subarray(start));
      line.size += data.length - start;
      if (line.size >= LONGEST_LINE) {
        text += this.#format(source, line.time, line.parts);
        Object.assign(line, { time, parts: [], size: 0 });
      }
    }
    if (line.size > 0) this.#open.set(key, line);
    else this.#open.delete(key);
    return text;
  }

  /** What a source left unfinished, as a line: it has ended. */
  finish(source: LogSource): string {
    let text = '';
    for (const stream of ['stdout', 'stderr']) {
      const key = `${source.name}\0${stream}`;
      const line = this.#open.get(key);
      if (line !== undefined) text += this.#format(source, line.time, line.parts);
      this.#open.delete(key);
    }
    return text;
  }

  /** A remark about a source in the place of its output: "web-1 exited with code 0". */
  remark(source: LogSource, text: string): string {
    this.#learn(source);
    return `${this.#options.withPrefix ? this.#look(source, `${source.name} ${text}`) : `${source.name} ${text}`}\n`;
  }

  #learn({ name, service }: LogSource): void {
    this.#width = Math.max(this.#width, name.length);
    if (this.#looks.has(service)) return;
    this.#looks.set(service, SERVICE_LOOKS[this.#looks.size % SERVICE_LOOKS.length] ?? 'cyan');
  }

  #look(source: LogSource, text: string): string {
    this.#learn(source);
    return this.#options.style(this.#looks.get(source.service) ?? 'cyan', text);
  }

  #format(source: LogSource, time: string, parts: readonly Uint8Array[]): string {
    this.#learn(source);
    const text = Buffer.concat(parts).toString('utf8');
    const line = text.endsWith('\r') ? text.slice(0, -1) : text;
    const stamp = this.#options.withTime ? `${time} ` : '';
    const prefix = this.#options.withPrefix ? this.#look(source, `${padTo(source.name, this.#width)}  | `) : '';
    return `${prefix}${stamp}${line}\n`;
  }
}
