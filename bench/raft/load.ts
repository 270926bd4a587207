import { Client, credentials } from '@grpc/grpc-js';
import { PUT_PATH, decodePutAnswer, encodePut } from './kv.ts';

/** Clients that share one connection: enough streams to fill it, few enough that it is not the bottleneck. */
const CLIENTS_PER_CONNECTION = 32;
/** Keys each client goes round in: the state stays small however long it runs. */
const KEYS_PER_CLIENT = 100;

export interface Load {
  readonly endpoint: string;
  readonly clients: number;
  readonly valueBytes: number;
  readonly durationMs: number;
}

/** Latencies in ms of the puts that were acknowledged, and how long it all took. */
export interface LoadResult {
  readonly latencies: readonly number[];
  readonly elapsedMs: number;
}

/** Puts as fast as answers come: every client waits for its answer before its next put. A refused put ends the run. */
export async function runLoad({ endpoint, clients, valueBytes, durationMs }: Load): Promise<LoadResult> {
  const connections = Array.from(
    { length: Math.ceil(clients / CLIENTS_PER_CONNECTION) },
    () => new Client(endpoint, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 }),
  );
  const value = Buffer.alloc(valueBytes, 'v');
  const latencies: number[] = [];
  try {
    await Promise.all(connections.map(connected));
    const started = performance.now();
    const end = started + durationMs;
    await Promise.all(
      Array.from({ length: clients }, async (_, client) => {
        const connection = connections[client % connections.length];
        if (connection === undefined) return;
        for (let n = 0; performance.now() < end; n++) {
          const key = Buffer.from(`client-${client}/key-${n % KEYS_PER_CLIENT}`);
          const sent = performance.now();
          const revision = await put(connection, encodePut({ key, value }));
          if (revision === 0) throw new Error(`putting "${key.toString()}": the answer names no revision`);
          latencies.push(performance.now() - sent);
        }
      }),
    );
    return { latencies, elapsedMs: performance.now() - started };
  } finally {
    for (const connection of connections) connection.close();
  }
}

function connected(connection: Client): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.waitForReady(Date.now() + 10_000, (error) => (error === undefined ? resolve() : reject(error)));
  });
}

function put(connection: Client, request: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    connection.makeUnaryRequest(
      PUT_PATH,
      (bytes: Buffer) => bytes,
      decodePutAnswer,
      request,
      (error, revision) => (error === null ? resolve(revision ?? 0) : reject(error)),
    );
  });
}
