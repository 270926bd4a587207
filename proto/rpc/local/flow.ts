/**
 * Flow control of one call. Each side may have WINDOW_BYTES of messages on the way that the other has not taken; a reader that
 * is slow holds up its own call and nobody else's.
 */
export const WINDOW_BYTES = 1 << 20;

/** The messages that arrive, until they are read. */
export class Inbox<T> implements AsyncIterable<T> {
  readonly #decode: (bytes: Buffer) => T;
  readonly #grant: (bytes: number) => void;
  readonly #queue: Buffer[] = [];
  #wake: (() => void) | undefined;
  #ended: { readonly error: Error | undefined } | undefined;
  #taken = 0;

  /** @param grant tells the sender that so many bytes were taken */
  constructor(decode: (bytes: Buffer) => T, grant: (bytes: number) => void) {
    this.#decode = decode;
    this.#grant = grant;
  }

  push(bytes: Buffer): void {
    if (this.#ended !== undefined) return;
    this.#queue.push(bytes);
    this.#wake?.();
  }

  /** No more messages: what has arrived is still read, then the reader ends or gets `error`. */
  end(error?: Error): void {
    this.#ended ??= { error };
    this.#wake?.();
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return {
      next: async () => {
        for (;;) {
          const bytes = this.#queue.shift();
          if (bytes !== undefined) {
            this.#take(bytes.length);
            return { done: false, value: this.#decode(bytes) };
          }
          if (this.#ended?.error !== undefined) throw this.#ended.error;
          if (this.#ended !== undefined) return { done: true, value: undefined };
          await new Promise<void>((resolve) => (this.#wake = resolve));
        }
      },
    };
  }

  /** Grants are gathered: one for a quarter of the window. */
  #take(bytes: number): void {
    this.#taken += bytes;
    if (this.#taken < WINDOW_BYTES / 4 || this.#ended !== undefined) return;
    this.#grant(this.#taken);
    this.#taken = 0;
  }
}

/** The right to send messages. */
export class SendWindow {
  #available = WINDOW_BYTES;
  #waiting: (() => void)[] = [];
  #closed = false;

  /** Resolves when `bytes` may be sent; false: nobody wants them any more. A message larger than the window goes alone. */
  async reserve(bytes: number): Promise<boolean> {
    while (this.#available <= 0 && !this.#closed) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#closed) return false;
    this.#available -= bytes;
    return true;
  }

  credit(bytes: number): void {
    this.#available += bytes;
    if (this.#available > 0) this.#wakeAll();
  }

  close(): void {
    this.#closed = true;
    this.#wakeAll();
  }

  #wakeAll(): void {
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
