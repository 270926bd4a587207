/** An iterator that comes later, and whose reader can be sent away while it waits. One reader at a time. */
export class Interruptible<T> {
  #source: AsyncIterator<T> | undefined;
  #reader: PromiseWithResolvers<IteratorResult<T, unknown>> | undefined;
  #interruption: { readonly error: Error } | undefined;

  /** From now on values come from `source`. */
  begin(source: AsyncIterator<T>): void {
    this.#source = source;
    if (this.#reader !== undefined) this.#pull(source, this.#reader);
  }

  /** @throws what `interrupt` was called with, and what the source throws */
  next(): Promise<IteratorResult<T, unknown>> {
    if (this.#interruption !== undefined) return Promise.reject(this.#interruption.error);
    const reader = Promise.withResolvers<IteratorResult<T, unknown>>();
    this.#reader = reader;
    if (this.#source !== undefined) this.#pull(this.#source, reader);
    return reader.promise;
  }

  /** Ends the reader that waits, and every later one. */
  interrupt(error: Error): void {
    this.#interruption ??= { error };
    this.#reader?.reject(error);
  }

  #pull(source: AsyncIterator<T>, { resolve, reject }: PromiseWithResolvers<IteratorResult<T, unknown>>): void {
    source.next().then(resolve, reject);
  }
}
