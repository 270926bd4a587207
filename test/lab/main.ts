/**
 * `npm run test:lab -- [--etcd] [rounds] [seed] [fault]`: three managers in a lab, clients that write all the time, and one fault after the
 * other, drawn from the seed. After each one the lab is healed and every acknowledged write must be there, asked at every
 * manager. Prints how long no write was accepted after the leader was killed. With --etcd the state is in an external etcd of three
 * members on the same wire, to which things happen too.
 */
import { seededRandom } from '../../base/random.ts';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { membershipService } from '../../proto/rpc/services.ts';
import { EtcdCluster } from '../builders/etcd-cluster.ts';
import { Clocks } from './clocks.ts';
import { etcdFaults } from './etcd-faults.ts';
import { FAULTS, mountSmallDisk, unmountSmallDisk } from './faults.ts';
import type { Fault } from './faults.ts';
import { Lab } from './lab.ts';
import { Writers } from './writers.ts';

const HEAL_MS = 45_000;
const isOnEtcd = process.argv.includes('--etcd');
const [rounds = '200', seedText = String(Date.now() % 1_000_000), only] = process.argv
  .slice(2)
  .filter((word) => word !== '--etcd');
const random = seededRandom(Number(seedText));

const clocks = new Clocks(3);
const lab = Lab.create('tslf', 3, (index) => clocks.environment(index));
const etcd = isOnEtcd ? await EtcdCluster.start(3, lab.openSwitch()) : undefined;
const faults: Readonly<Record<string, Fault>> = { ...FAULTS, ...(etcd === undefined ? {} : etcdFaults(etcd)) };
const names = Object.keys(faults).filter((name) => only === undefined || name === only);
const sockets = lab.machines.map(({ socket }) => socket);
const writers = new Writers(sockets, () => random.next());
const failovers: number[] = [];
const counts = new Map<string, number>();
const started = performance.now();
let failure: unknown;
try {
  if (names.length === 0) throw new Error(`the fault "${only}" is none of ${Object.keys(faults).join(', ')}`);
  mountSmallDisk(lab);
  lab.form(3, 3, etcd === undefined ? [] : ['--store', `etcd://${etcd.endpoints.join(',')}`]);
  writers.start(['m0', 'm1', 'm2', 'm0']);
  for (let round = 1; round <= Number(rounds); round++) {
    const leader = await healthy();
    const name = names[Math.floor(random.next() * names.length)] ?? '';
    counts.set(name, (counts.get(name) ?? 0) + 1);
    const follower = (leader + 1 + Math.floor(random.next() * 2)) % 3;
    const at = performance.now();
    const end = await faults[name]?.(lab, { leader, follower, clocks });
    const killed = performance.now();
    if (name === 'kill -9 of the leader') failovers.push(await accepted(killed));
    await wait(300 + random.next() * 1500);
    end?.();
    for (const index of [0, 1, 2]) lab.heal(index);
    for (const index of [0, 1, 2]) lab.start(index);
    await healthy();
    await writers.check();
    console.log(`${round}: ${name}, ${((performance.now() - at) / 1000).toFixed(1)} s, ${writers.acknowledged} writes`);
  }
} catch (error) {
  failure = error;
  console.log(`seed ${seedText} failed:`, error);
  for (const machine of lab.machines)
    console.log(machine.name, machine.run('tail', '-n', '12', `${machine.stateDir}/tsswarmd.log`).stdout);
}
await writers.stop();
for (const index of [0, 1, 2]) lab.heal(index);
for (const machine of lab.machines.toReversed()) machine.run('tsswarm', 'leave', '--force');
unmountSmallDisk(lab);
lab.dispose();
clocks.dispose();
await etcd?.stop();
failovers.sort((a, b) => a - b);
const quantile = (part: number): string =>
  (failovers[Math.min(failovers.length - 1, Math.floor(failovers.length * part))] ?? NaN).toFixed(0);
console.log([...counts].map(([name, count]) => `${count} × ${name}`).join(', '));
console.log(
  `seed ${seedText}: ${rounds} rounds in ${((performance.now() - started) / 1000).toFixed(0)} s, ${writers.acknowledged} writes acknowledged, ` +
    `${writers.unknown} of unknown outcome, ${writers.refused} refused; ${failovers.length} leaders killed, a write accepted after ` +
    `${quantile(0.5)} ms (median), ${quantile(0.99)} ms (p99); ${failure === undefined ? '0 lost' : 'FAILED'}`,
);
process.exit(failure === undefined ? 0 : 1);

function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until a write was accepted that was sent after `since`. @returns ms */
async function accepted(since: number): Promise<number> {
  for (;;) {
    const after = writers.acceptedAfter(since);
    if (after !== undefined) return after;
    if (performance.now() - since > HEAL_MS) throw new Error(`no write was accepted for ${HEAL_MS} ms`);
    await wait(5);
  }
}

/** Waits until every manager sees three, and one and the same that leads. @returns its index */
async function healthy(): Promise<number> {
  const deadline = performance.now() + HEAL_MS;
  for (;;) {
    const views = await Promise.all(sockets.map(leaderSeenBy));
    const [leader] = views;
    if (leader !== undefined && leader >= 0 && views.every((view) => view === leader)) return leader;
    if (performance.now() > deadline) throw new Error(`not healthy after ${HEAL_MS} ms: ${views.join(', ')}`);
    // One that ended by itself, for want of room on its disk, is started again.
    for (const index of [0, 1, 2]) lab.start(index);
    await wait(50);
  }
}

async function leaderSeenBy(socket: string): Promise<number> {
  const connection = connectLocal(socket);
  try {
    const { managers } = await connection.service(membershipService).listManagers({}, AbortSignal.timeout(5_000));
    if (managers.some(({ leader, reachable }) => !leader && !reachable)) return -1;
    const address = managers.find(({ leader }) => leader)?.address ?? '';
    return lab.machines.findIndex((_, index) => address.startsWith(`${lab.address(index)}:`));
  } catch {
    return -1;
  } finally {
    connection.close();
  }
}
