import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { messageOf } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { EtcdClient } from './client.ts';
import { encodeLeader } from './keys.ts';
import type { Layout } from './keys.ts';

const RETRY_MS = 500;

export interface PresenceOptions {
  readonly client: EtcdClient;
  readonly layout: Layout;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly id: string;
  readonly address: string;
  readonly leaseMs: number;
}

/** Tells the other managers that this one is up, by a key under a lease. */
export class Presence {
  readonly #options: PresenceOptions;
  #lease: string | undefined;

  constructor(options: PresenceOptions) {
    this.#options = options;
  }

  /** Writes the key. @throws UNAVAILABLE, PERMISSION_DENIED */
  async announce(): Promise<void> {
    const { client, layout, id, address, leaseMs } = this.#options;
    const { id: lease } = await client.grantLease(leaseMs);
    const key = layout.manager(id);
    await client.transact({
      conditions: [],
      operations: [{ put: key, value: encodeLeader({ id, address }), lease }],
      otherwiseRead: key,
    });
    this.#lease = lease;
  }

  /** Keeps the key until `signal` aborts, then takes it away. */
  async run(signal: AbortSignal): Promise<void> {
    const { client, clock, logger, leaseMs } = this.#options;
    while (!signal.aborted) {
      try {
        if (this.#lease === undefined) await this.announce();
        await sleep(clock, leaseMs / 4, signal);
        // What fails may have failed at one member only: the lease holds on for three more tries.
        if ((await client.keepLease(this.#lease ?? '')) <= 0) this.#lease = undefined;
      } catch (error) {
        if (signal.aborted) break;
        logger.warn('telling that this manager is up failed, trying again', { reason: messageOf(error) });
        await sleep(clock, RETRY_MS, signal).catch(() => undefined);
      }
    }
    if (this.#lease !== undefined) await client.revokeLease(this.#lease).catch(() => undefined);
  }
}
