import type { OutputChunk } from '../types.ts';

/** Bytes that may wait for a slow reader before its source is asked to pause. */
const HIGH_WATER = 1024 * 1024;

/** Output between a socket that pushes and a reader that iterates. One reader; breaking out of the loop ends it. */
export class OutputQueue implements AsyncIterable<OutputChunk> {
  readonly #chunks: OutputChunk[] = [];
  #bytes = 0;
  #ended = false;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;
  readonly #onFlow: (flowing: boolean) => void;

  /** @param onFlow told false when too much waits, true when there is room again */
  constructor(onFlow: (flowing: boolean) => void) {
    this.#onFlow = onFlow;
  }

  push(chunk: OutputChunk): void {
    if (this.#ended) return;
    this.#chunks.push(chunk);
    const before = this.#bytes;
    this.#bytes += chunk.data.length;
    if (before < HIGH_WATER && this.#bytes >= HIGH_WATER) this.#onFlow(false);
    this.#wake?.();
  }

  /** What is queued is still delivered, then the iteration ends, or throws `failure`. */
  end(failure?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<OutputChunk> {
    try {
      for (;;) {
        const chunk = this.#chunks.shift();
        if (chunk) {
          const before = this.#bytes;
          this.#bytes -= chunk.data.length;
          if (before >= HIGH_WATER && this.#bytes < HIGH_WATER) this.#onFlow(true);
          yield chunk;
        } else if (this.#failure) throw this.#failure;
        else if (this.#ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      // Whoever stops reading must not stop the source: the rest is thrown away.
      this.#ended = true;
      this.#chunks.length = 0;
      if (this.#bytes >= HIGH_WATER) this.#onFlow(true);
      this.#bytes = 0;
    }
  }
}
