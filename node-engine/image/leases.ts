/** Holds blobs and layers that belong to no image yet. */
export interface Lease {
  /** Digests of blobs and diff ids of layers. */
  hold(digest: string): void;
  /** Lets everything go; twice is once. */
  release(): void;
}

/** All leases that are open. They do not outlive the process: a start collects what a crash left. */
export class LeaseBook {
  readonly #open = new Set<Set<string>>();

  open(): Lease {
    const held = new Set<string>();
    this.#open.add(held);
    return { hold: (digest) => void held.add(digest), release: () => void this.#open.delete(held) };
  }

  holds(digest: string): boolean {
    for (const held of this.#open) if (held.has(digest)) return true;
    return false;
  }
}
