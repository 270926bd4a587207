/**
 * Hundreds of endpoints that join and leave on five nodes, while a container on each node asks for them by name without rest: all that is
 * planned fails nobody, and nobody is led to a dead endpoint later than a second after it was reported. Needs root; about 0.7 MiB of
 * memory for each endpoint, and some minutes.
 *
 * Usage: npm run test:lab:network [-- ENDPOINTS [ROUNDS [MANAGERS]]]
 */
import { raiseNeighbourLimits } from '../../../node-engine/network/neighbour-limits.ts';
import { Lab } from '../lab.ts';
import { Churn } from './churn.ts';
import type { Outcome } from './churn.ts';

const [most = 500, rounds = 1, managers = 3] = process.argv.slice(2).map(Number);
const few = Math.ceil(most / 5);
const GRACE_MS = 1000;
const NODES = 5;
const MOST_STALE = 20;
const VICTIM = NODES - 1;

// Five machines share one kernel here, and none of their daemons is in the namespace that has the limits.
const putLimitsBack = raiseNeighbourLimits('/proc/sys/net');
const lab = Lab.create('tsch', NODES);
let churn: Churn | undefined;
let failed = 0;
const tell = (outcome: Outcome): void => {
  const { phase, ms, answered, excused, lost, stale, slowestMs, came, went, failedForMs, waitedMs, mistaken } = outcome;
  const window = excused === 0 ? '' : `, ${excused} failed until ${failedForMs.toFixed(0)} ms after the first word`;
  console.log(
    `${phase.padEnd(34)}${(ms / 1000).toFixed(1).padStart(6)} s  ${answered} requests answered, the slowest in ${slowestMs.toFixed(0)} ms; ` +
      `${came} came, ${went} went${window}; a daemon waited ${(waitedMs / 1000).toFixed(1)} s for a processor` +
      (mistaken === 0 ? '' : `, and ${mistaken} endpoints were taken for dead by mistake: the machine is too busy`),
  );
  for (const one of lost) console.log(`  LOST ${one}`);
  for (const one of stale.slice(0, MOST_STALE)) console.log(`  STALE ${one}`);
  if (stale.length > MOST_STALE) console.log(`  STALE and ${stale.length - MOST_STALE} more`);
  failed += lost.length + stale.length;
};
const interrupted = Promise.withResolvers<never>();
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => interrupted.reject(new Error(`interrupted by ${signal}`)));
try {
  await Promise.race([goThrough(), interrupted.promise]);
} catch (error) {
  failed++;
  console.log(error);
  for (const machine of lab.machines)
    console.log(machine.name, machine.run('tail', '-n', '5', `${machine.stateDir}/tsswarmd.log`).stdout);
} finally {
  await churn?.stop().catch((error: unknown) => console.log(String(error)));
  lab.dispose();
  putLimitsBack();
}
console.log(failed === 0 ? 'nobody was lost' : `FAILED: ${failed}`);
process.exit(failed === 0 ? 0 : 1);

async function goThrough(): Promise<void> {
  lab.form(managers);
  const run = (churn = await Churn.start(lab, few, { workers: 4, restMs: 10, ports: 1000, parallelism: few }));
  for (let round = 1; round <= rounds; round++) {
    tell(await run.phase(`${few} to ${most} endpoints`, 0, () => run.scale(most)));
    tell(await run.phase(`an update of ${most}`, 0, () => run.update()));
    tell(await run.phase(`${few} killed at once`, GRACE_MS, () => run.kill(few)));
    tell(await run.phase('a node switched off', GRACE_MS, () => run.powerOff(VICTIM), [VICTIM]));
    lab.heal(VICTIM);
    lab.start(VICTIM);
    await run.rejoined();
    tell(await run.phase(`${most} to ${few} endpoints`, 0, () => run.scale(few)));
  }
}
