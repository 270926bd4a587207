import { join } from 'node:path';
import { runLoad } from './load.ts';
import { startOwnCluster } from './own-cluster.ts';
import { etcdInstalled, startEtcd, startOwn } from './peers.ts';
import type { Peer } from './peers.ts';

const ROUNDS = 2;
const CLIENTS = [1, 32, 128];
const VALUE_BYTES = 256;
/**
 * How long each peer is asked by one client before anything is measured. V8 compiles what runs often anew for half a minute; meanwhile its
 * helpers take the cores that the others' answers wait for. A manager runs for months, so what it does then is measured.
 */
const WARM_UP_MS = 25_000;
const WARM_UP_TURNS = 5;

/**
 * Puts per second and their latency: our store beside etcd, driven by one load generator over etcd's own gRPC interface,
 * on one disk, in one run, in turns, each warm. Both sync every put to disk before they answer. Prints a table.
 * @param seconds length of a turn
 */
export async function measurePuts(dir: string, seconds: number): Promise<void> {
  const peers: Peer[] = [];
  const rows: string[][] = [];
  try {
    peers.push(await startOwn(join(dir, 'own')));
    peers.push(await startOwnCluster(join(dir, 'own3'), 3));
    if (etcdInstalled()) {
      peers.push(await startEtcd(join(dir, 'etcd1'), 1));
      peers.push(await startEtcd(join(dir, 'etcd3'), 3));
      // As ours do.
      peers.push(await startEtcd(join(dir, 'etcd3tls'), 3, true));
    } else console.log('etcd is not installed: only our own figures (apt-get install etcd-server)');
    // Both sides warm: code compiled, connections and files made.
    for (const { endpoint } of peers)
      await runLoad({ endpoint, clients: 32, valueBytes: VALUE_BYTES, durationMs: 1_000 });
    for (let turn = 0; turn < WARM_UP_TURNS; turn++)
      for (const { endpoint } of peers)
        await runLoad({ endpoint, clients: 1, valueBytes: VALUE_BYTES, durationMs: WARM_UP_MS / WARM_UP_TURNS });
    for (const clients of CLIENTS) {
      const measured = new Map(peers.map((peer) => [peer, { latencies: [] as number[], elapsedMs: 0 }]));
      for (let round = 0; round < ROUNDS; round++) {
        for (const [{ endpoint }, sum] of measured) {
          const turn = await runLoad({ endpoint, clients, valueBytes: VALUE_BYTES, durationMs: seconds * 1000 });
          for (const latency of turn.latencies) sum.latencies.push(latency);
          sum.elapsedMs += turn.elapsedMs;
        }
      }
      for (const [{ name }, { latencies, elapsedMs }] of measured) {
        const rate = (latencies.length / elapsedMs) * 1000;
        latencies.sort((a, b) => a - b);
        const at = (share: number): string => (latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(2);
        rows.push([name, String(clients), rate.toFixed(0), at(0.5), at(0.99)]);
      }
    }
  } finally {
    for (const peer of peers) await peer.stop();
  }

  const widths = [22, 8, 9, 9, 9];
  const line = (cells: readonly string[]): string =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('');
  console.log(
    `puts of ${VALUE_BYTES} B, ${ROUNDS} turns of ${seconds} s each, after ${WARM_UP_MS / 1000} s of warming up\n`,
  );
  console.log(line(['server', 'clients', 'puts/s', 'p50, ms', 'p99, ms']));
  for (const row of rows) console.log(line(row));
}
