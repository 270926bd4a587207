import { Client, credentials } from '@grpc/grpc-js';
import { PUT_PATH, RANGE_PATH, decodePutAnswer, decodeRangeAnswer, encodePut, encodeRange } from './kv.ts';
import type { Put } from './kv.ts';

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
  const connections = await Promise.all(
    Array.from({ length: Math.ceil(clients / CLIENTS_PER_CONNECTION) }, () => connected(endpoint)),
  );
  const value = Buffer.alloc(valueBytes, 'v');
  const latencies: number[] = [];
  try {
    const started = performance.now();
    const end = started + durationMs;
    await Promise.all(
      Array.from({ length: clients }, async (_, client) => {
        const connection = connections[client % connections.length];
        if (connection === undefined) return;
        for (let n = 0; performance.now() < end; n++) {
          const key = Buffer.from(`client-${client}/key-${n % KEYS_PER_CLIENT}`);
          const sent = performance.now();
          const revision = await put(connection, { key, value });
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

/** A connection of its own that stands. */
export async function connected(endpoint: string, patienceMs = 10_000): Promise<Client> {
  const connection = new Client(endpoint, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 });
  await new Promise<void>((resolve, reject) => {
    connection.waitForReady(Date.now() + patienceMs, (error) => (error === undefined ? resolve() : reject(error)));
  }).catch((error: unknown) => {
    connection.close();
    throw error;
  });
  return connection;
}

const same = (bytes: Buffer): Buffer => bytes;

/** Resolves with the store's revision. */
export function put(connection: Client, request: Put, patienceMs?: number): Promise<number> {
  return call(connection, PUT_PATH, encodePut(request), decodePutAnswer, patienceMs);
}

/** A linearizable read of one key. */
export function range(connection: Client, key: string, patienceMs?: number): Promise<Buffer | undefined> {
  return call(connection, RANGE_PATH, encodeRange(Buffer.from(key)), decodeRangeAnswer, patienceMs);
}

function call<A>(
  connection: Client,
  path: string,
  request: Buffer,
  decode: (bytes: Buffer) => A,
  patienceMs?: number,
): Promise<A> {
  return new Promise((resolve, reject) => {
    const options = patienceMs === undefined ? {} : { deadline: Date.now() + patienceMs };
    connection.makeUnaryRequest(path, same, decode, request, options, (error, answer) =>
      error === null ? resolve(answer as A) : reject(error),
    );
  });
}
