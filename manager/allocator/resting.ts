import type { Network } from '../../proto/types/index.ts';

/**
 * A node keeps the bridge of a network for half a minute after its last container; while it is there, the same subnet on another bridge
 * would have to wait until it is taken away. And who remembers an address of it meets nobody else there.
 */
const REST_MS = 60_000;

/** Subnets that networks have left a short while ago, as far as this manager has seen it. */
export class RestingSubnets {
  #used: ReadonlySet<string> = new Set();
  readonly #left = new Map<string, number>();

  /** @param now wall time, ms */
  see(networks: readonly Network[], now: number): void {
    const used = new Set(
      networks.flatMap(({ subnet, ipv6 }) => [subnet, ipv6?.subnet ?? '']).filter((one) => one !== ''),
    );
    for (const subnet of this.#used) if (!used.has(subnet)) this.#left.set(subnet, now);
    for (const [subnet, since] of this.#left) if (used.has(subnet) || now - since > REST_MS) this.#left.delete(subnet);
    this.#used = used;
  }

  list(): readonly string[] {
    return [...this.#left.keys()];
  }
}
