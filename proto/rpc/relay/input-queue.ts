import type { RelayInput } from '../../types/index.ts';

/** Messages on their way to one reader: each sender waits until its message was taken and asked for the next one. */
export class InputQueue implements AsyncIterable<RelayInput> {
  readonly #items: { readonly input: RelayInput; readonly taken: (was: boolean) => void }[] = [];
  #wake: () => void = () => undefined;
  #closed = false;

  /** @returns whether the message was taken; false: nobody reads any more */
  push(input: RelayInput): Promise<boolean> {
    if (this.#closed) return Promise.resolve(false);
    return new Promise((taken) => {
      this.#items.push({ input, taken });
      this.#wake();
    });
  }

  /** Ends the reader; what was not taken is given back. */
  close(): void {
    this.#closed = true;
    for (const { taken } of this.#items.splice(0)) taken(false);
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<RelayInput> {
    while (!this.#closed) {
      const item = this.#items.shift();
      if (item === undefined) {
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      let written = false;
      try {
        yield item.input;
        written = true;
      } finally {
        item.taken(written);
      }
    }
  }
}
