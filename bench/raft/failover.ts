import type { Client } from '@grpc/grpc-js';
import { setTimeout as delay } from 'node:timers/promises';
import { connected, put, range } from './load.ts';
import { startOwnCluster } from './own-cluster.ts';
import type { OwnCluster } from './own-cluster.ts';

/** What a client waits for one answer before it asks the next member. */
const PATIENCE_MS = 500;
/** A member that is not there refuses at once; gRPC would try it again and again. */
const CONNECT_MS = 50;
/** Puts between kills: the leader is busy when it dies. */
const PUTS_BETWEEN = 200;

/**
 * Three members; the leader is killed by kill -9 while a client writes, `kills` times. Prints the time from the kill to the
 * next acknowledged write, and looks every acknowledged write up at the end.
 * @throws when one is lost
 */
export async function measureFailover(dir: string, kills: number): Promise<void> {
  const cluster = await startOwnCluster(dir, 3);
  try {
    const client = new Writer(cluster);
    const gaps: number[] = [];
    for (let n = 0; n < kills; n++) {
      for (let i = 0; i < PUTS_BETWEEN; i++) await client.write();
      const leader = client.at;
      const killed = performance.now();
      const dead = cluster.kill(leader);
      await client.write();
      gaps.push(performance.now() - killed);
      await dead;
      await cluster.start(leader);
      // It is one of the quorum again before the next one dies.
      await delay(500);
    }
    const lost = await client.lost();
    gaps.sort((a, b) => a - b);
    const at = (share: number): string =>
      (gaps[Math.min(gaps.length - 1, Math.floor(gaps.length * share))] ?? 0).toFixed(0);
    console.log(`${kills} kills of the leader of three members, ${client.acknowledged.size} acknowledged writes`);
    console.log(`until the next acknowledged write, ms: median ${at(0.5)}, p99 ${at(0.99)}, longest ${at(1)}`);
    console.log(`acknowledged writes lost: ${lost.length}`);
    if (lost.length > 0) throw new Error(`acknowledged writes are lost: ${lost.slice(0, 5).join(', ')}`);
    client.close();
  } finally {
    await cluster.stop();
  }
}

/** Writes to whoever takes it, and remembers what was acknowledged. */
class Writer {
  readonly acknowledged = new Map<string, string>();
  /** Index of the member that took the last write. */
  at = 0;
  readonly #cluster: OwnCluster;
  readonly #connections = new Map<number, Client>();
  #next = 0;

  constructor(cluster: OwnCluster) {
    this.#cluster = cluster;
  }

  /** Resolves when a new key is acknowledged. */
  async write(): Promise<void> {
    const [key, value] = [`key-${this.#next}`, `value-${this.#next++}`];
    await this.#tried((connection) =>
      put(connection, { key: Buffer.from(key), value: Buffer.from(value) }, PATIENCE_MS),
    );
    this.acknowledged.set(key, value);
  }

  /** The acknowledged keys that are not there any more as they were written. */
  async lost(): Promise<readonly string[]> {
    const lost: string[] = [];
    for (const [key, value] of this.acknowledged) {
      const found = await this.#tried((connection) => range(connection, key, PATIENCE_MS));
      if (found?.toString() !== value) lost.push(key);
    }
    return lost;
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.close();
  }

  /** Asks one member after the other until one answers. */
  async #tried<A>(ask: (connection: Client) => Promise<A>): Promise<A> {
    let failure: unknown;
    for (const giveUp = performance.now() + 30_000; performance.now() < giveUp;) {
      try {
        return await ask(await this.#connection(this.at));
      } catch (error) {
        failure = error;
        this.#connections.get(this.at)?.close();
        this.#connections.delete(this.at);
        this.at = (this.at + 1) % this.#cluster.endpoints.length;
        await delay(5);
      }
    }
    throw new Error('asking our cluster: no member answered for 30 s', { cause: failure });
  }

  async #connection(index: number): Promise<Client> {
    const known = this.#connections.get(index);
    if (known !== undefined) return known;
    const connection = await connected(this.#cluster.endpoints[index] ?? '', CONNECT_MS);
    this.#connections.set(index, connection);
    return connection;
  }
}
