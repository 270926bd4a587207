import type { ImageEvent } from '../../proto/types/index.ts';
import { formatSize } from '../render/size.ts';
import type { ProgressRow } from '../render/progress.ts';

type Progress = NonNullable<ImageEvent['progress']>;

const WORDS: Readonly<Record<string, string>> = {
  waiting: 'Waiting',
  downloading: 'Downloading',
  extracting: 'Extracting',
  done: 'Done',
  exists: 'Already exists',
};
const BAR_COLUMNS = 20;

/** Progress of one image as rows: a heading, a row per layer below it. */
export class ImageProgressRows {
  readonly #name: string;
  readonly #working: string;
  readonly #finished: string;
  readonly #layers = new Map<string, Progress>();
  #state: 'working' | 'done' | 'error' = 'working';
  #detail = '';

  /** @param working,finished words for the heading: "Pulling", "Pulled" */
  constructor(name: string, working: string, finished: string) {
    this.#name = name;
    this.#working = working;
    this.#finished = finished;
  }

  take(progress: Progress): void {
    if (progress.status === 'output') return;
    if (progress.id === '') this.#detail = progress.text;
    else this.#layers.set(progress.id, progress);
  }

  finish(): void {
    this.#state = 'done';
  }

  fail(reason: string): void {
    this.#state = 'error';
    this.#detail = reason;
  }

  rows(): readonly ProgressRow[] {
    const heading: ProgressRow = {
      key: `image ${this.#name}`,
      label: this.#name,
      status: { working: this.#working, done: this.#finished, error: 'Error' }[this.#state],
      phase: this.#state,
      detail: this.#state === 'working' ? this.#total() : this.#state === 'done' ? '' : this.#detail,
      quiet: this.#state === 'working',
    };
    // Once all is here the layers say nothing any more.
    return this.#state === 'working'
      ? [heading, ...[...this.#layers.values()].map((one) => this.#row(one))]
      : [heading];
  }

  #row(progress: Progress): ProgressRow {
    const over = progress.status === 'done' || progress.status === 'exists';
    return {
      key: `image ${this.#name} ${progress.id}`,
      label: progress.id,
      status: WORDS[progress.status] ?? progress.text,
      phase: over ? 'done' : progress.status === 'waiting' ? 'waiting' : 'working',
      detail: over ? '' : progress.total > 0 ? bar(progress) : progress.text,
      indent: true,
      quiet: true,
    };
  }

  #total(): string {
    let current = 0;
    let total = 0;
    for (const layer of this.#layers.values()) {
      current += layer.current;
      total += layer.total;
    }
    return total === 0 ? this.#detail : `${formatSize(current)} / ${formatSize(total)}`;
  }
}

function bar({ current, total }: Progress): string {
  const filled = Math.min(BAR_COLUMNS, Math.floor((current / total) * BAR_COLUMNS));
  return `[${'='.repeat(filled)}${' '.repeat(BAR_COLUMNS - filled)}] ${formatSize(current)} / ${formatSize(total)}`;
}
