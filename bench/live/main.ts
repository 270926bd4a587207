/**
 * How long a change of a running service takes from the typed command until it is true in the kernel, and how many containers it costs:
 * three managers in network namespaces, beside Docker Swarm of the same shape in the same run. Needs root.
 *
 * Usage: npm run bench:live [-- ROUNDS [own]]      own: without Docker, which takes some two minutes a change
 */
import { join } from 'node:path';
import { DockerPeer } from '../services/docker-peer.ts';
import { median } from '../start/measure.ts';
import { OwnCluster } from './own-cluster.ts';
import type { Outcome } from './own-cluster.ts';

const REPLICAS = 12;
const rounds = Number(process.argv[2] ?? 5);
const archive = join(import.meta.dirname, '..', '..', '.cache', 'images', 'busybox.tar');

const own = OwnCluster.start(REPLICAS);
let docker: DockerPeer | undefined;
try {
  docker = process.argv[3] === 'own' ? undefined : await DockerPeer.start(archive);
  console.log(`${REPLICAS} containers on three nodes; medians of ${rounds} changes, all of them in brackets\n`);
  const cases: readonly (readonly [what: string, change: (round: number) => Promise<Outcome>])[] = [
    ['CPU limit', (round) => own.changeCpuLimit(1 + (round % 2) / 2)],
    ['published port', (round) => own.addPort(18_080 + round)],
    ['attached network', () => own.attachNetwork()],
    ['new content of a secret', (round) => own.changeSecret(`content ${round}`)],
  ];
  for (const [what, change] of cases) {
    const outcomes: Outcome[] = [];
    for (let round = 0; round < rounds; round++) outcomes.push(await change(round));
    const times = outcomes.map(({ ms }) => ms);
    const restarts = outcomes.reduce((sum, outcome) => sum + outcome.restarts, 0);
    console.log(
      `${what}: tsswarm ${Math.round(median(times))} ms, ${restarts} restarts [${times.map(Math.round).join(' ')}]`,
    );
  }
  if (docker !== undefined) {
    // A process that ignores SIGTERM, as the first process of a container does unless it handles it, and Docker's default grace of 10 s.
    await docker.createStubborn(REPLICAS);
    const { ms, restarts } = await docker.changeCpuLimit(0.5, REPLICAS);
    console.log(`CPU limit: Docker ${Math.round(ms)} ms, ${restarts} restarts`);
    await docker.remove();
  }
} finally {
  try {
    await docker?.stop();
  } finally {
    own.stop();
  }
}
