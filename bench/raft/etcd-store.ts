import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { runLoad } from './load.ts';
import { ended, failed, startEtcd } from './peers.ts';

const CLIENTS = [1, 32, 128];
const ROUNDS = 2;
const VALUE_BYTES = 256;

/**
 * Puts per second of the store that an external etcd keeps, beside that etcd itself: what our side costs.
 * @param seconds length of a turn
 */
export async function measureEtcdStore(dir: string, seconds: number): Promise<void> {
  console.log(`puts of ${VALUE_BYTES} B, ${ROUNDS} turns of ${seconds} s each\n`);
  console.log('| server | clients | puts/s | p50, ms | p99, ms |\n| --- | ---: | ---: | ---: | ---: |');
  for (const members of [1, 3]) {
    const etcd = await startEtcd(join(dir, `etcd${members}`), members);
    const argv = [join(import.meta.dirname, 'own-server.ts'), `etcd://${etcd.endpoint}/bench`];
    const child = spawn(process.execPath, argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    try {
      const first = once(createInterface(child.stdout), 'line') as Promise<[string]>;
      const [port] = (await Promise.race([first, failed(child, 'our server')])) as [string];
      const peers = [
        { name: `tsswarm on etcd, ${members} member(s)`, endpoint: `127.0.0.1:${port}` },
        { name: `etcd itself, ${members} member(s)`, endpoint: etcd.endpoint },
      ];
      for (const { endpoint } of peers)
        await runLoad({ endpoint, clients: 32, valueBytes: VALUE_BYTES, durationMs: 1_000 });
      for (const clients of CLIENTS) {
        for (const { name, endpoint } of peers) {
          const latencies: number[] = [];
          let elapsedMs = 0;
          for (let round = 0; round < ROUNDS; round++) {
            const turn = await runLoad({ endpoint, clients, valueBytes: VALUE_BYTES, durationMs: seconds * 1000 });
            for (const latency of turn.latencies) latencies.push(latency);
            elapsedMs += turn.elapsedMs;
          }
          latencies.sort((a, b) => a - b);
          const at = (share: number): string => (latencies[Math.floor(latencies.length * share)] ?? 0).toFixed(2);
          const rate = ((latencies.length / elapsedMs) * 1000).toFixed(0);
          console.log(`| ${name} | ${clients} | ${rate} | ${at(0.5)} | ${at(0.99)} |`);
        }
      }
    } finally {
      child.stdin.end();
      await ended(child);
      await etcd.stop();
    }
  }
}
