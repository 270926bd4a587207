import { join } from 'node:path';
import { systemRandom } from '../../base/random.ts';
import { systemClock } from '../../base/clock.ts';
import { openLog } from '../../manager/raft/log/disk.ts';
import type { SealedLogStore } from '../../manager/raft/log/types.ts';
import { KEY_BYTES, sealer } from '../../manager/raft/seal/index.ts';
import type { Sealer } from '../../manager/raft/seal/index.ts';
import type { Entry } from '../../manager/raft/types.ts';

/** As the puts of the other benchmark; entries that one sync brings to disk, as under load. */
const PAYLOAD_BYTES = 256;
const BATCHES = [1, 32, 128];
/** Turns of each log: one after the other, so that whatever else the machine does meets both. */
const TURNS = 20;

interface Cost {
  wallMs: number;
  /** Of this process: what sealing adds does not drown in the waits for the disk. */
  cpuMs: number;
}

/** Writes the same entries to a log that seals and to one that does not, in turns. Prints what an entry costs in both. */
export async function measureSealing(dir: string, entriesPerTurn: number): Promise<void> {
  const key = systemRandom.bytes(KEY_BYTES);
  measurePieces(sealer(key, systemRandom));
  const payload = Buffer.from(systemRandom.bytes(PAYLOAD_BYTES));
  console.log(`${PAYLOAD_BYTES}-byte entries, ${TURNS} turns of ${entriesPerTurn} for each log; per entry:`);
  for (const batch of BATCHES) {
    const logs = {
      plain: openLog(join(dir, `plain-${batch}`), systemClock),
      sealed: openLog(join(dir, `sealed-${batch}`), systemClock, sealer(key, systemRandom)),
    };
    const costs = { plain: [] as Cost[], sealed: [] as Cost[] };
    // The first turn warms up.
    for (let turn = 0; turn <= TURNS; turn++) {
      for (const name of turn % 2 === 0 ? (['plain', 'sealed'] as const) : (['sealed', 'plain'] as const)) {
        const cost = await write(
          logs[name],
          payload,
          batch,
          Math.max(batch, Math.round(entriesPerTurn * Math.sqrt(batch / 128))),
        );
        if (turn > 0) costs[name].push(cost);
      }
    }
    const [plain, sealed] = [least(costs.plain), least(costs.sealed)];
    const added = (what: keyof Cost): string => `${(((sealed[what] - plain[what]) / plain[what]) * 100).toFixed(1)} %`;
    console.log(
      `${String(batch).padStart(4)} a sync: wall ${us(plain.wallMs)} plain, ${us(sealed.wallMs)} sealed (${added('wallMs')}); ` +
        `cpu ${us(plain.cpuMs)} plain, ${us(sealed.cpuMs)} sealed (${added('cpuMs')})`,
    );
    await logs.plain.close();
    await logs.sealed.close();
  }
}

const us = (ms: number): string => `${(ms * 1000).toFixed(1)} µs`;

async function write(log: SealedLogStore, payload: Buffer, batch: number, count: number): Promise<Cost> {
  const cpu = process.cpuUsage();
  const started = performance.now();
  let written = 0;
  for (; written < count; written += batch) {
    const from = log.lastIndex + 1;
    const entries: Entry[] = Array.from({ length: batch }, (_, i) => ({
      index: from + i,
      term: 1,
      kind: 'command',
      payload,
    }));
    await log.write({ entries });
  }
  const wallMs = performance.now() - started;
  const { user, system } = process.cpuUsage(cpu);
  return { wallMs: wallMs / written, cpuMs: (user + system) / 1000 / written };
}

/** What a snapshot is written and read in. */
function measurePieces({ seal, open }: Sealer): void {
  const plain = Buffer.from(systemRandom.bytes(64 * 1024));
  const times = { seal: Infinity, open: Infinity };
  for (let i = 0; i < 2000; i++) {
    const started = performance.now();
    const sealed = seal(plain);
    const between = performance.now();
    open(sealed);
    times.seal = Math.min(times.seal, between - started);
    times.open = Math.min(times.open, performance.now() - between);
  }
  console.log(`a piece of a snapshot, 64 KiB: sealed in ${us(times.seal)}, opened in ${us(times.open)}`);
}

/** Other work on the machine only ever adds: the least of all turns says most of what the work itself takes. */
function least(costs: readonly Cost[]): Cost {
  return {
    wallMs: Math.min(...costs.map(({ wallMs }) => wallMs)),
    cpuMs: Math.min(...costs.map(({ cpuMs }) => cpuMs)),
  };
}
