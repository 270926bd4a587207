/**
 * How long the loss of a worker goes unnoticed and unmended: three managers and two workers in network namespaces with five
 * containers; the last worker is cut off and everything on it killed. Docker Swarm of the same shape once, afterwards. Needs root.
 *
 * Usage: npm run bench:failure [-- ROUNDS [own|docker]]      the one of them alone
 */
import { join } from 'node:path';
import { median } from '../start/measure.ts';
import { DockerPeer } from './docker-peer.ts';
import { OwnPeer } from './own-peer.ts';
import type { Loss, Peer } from './peer.ts';

const REPLICAS = 5;
const rounds = Number(process.argv[2] ?? 5);
const archive = join(import.meta.dirname, '..', '..', '.cache', 'images', 'busybox.tar');

async function measure(peer: Peer): Promise<readonly Loss[]> {
  try {
    await peer.serve(REPLICAS);
    const losses: Loss[] = [];
    for (let round = 0; round < (peer.repeats ? rounds : 1); round++) losses.push(await peer.lose(REPLICAS));
    return losses;
  } finally {
    await peer.stop();
  }
}

const seconds = (ms: number): string => (ms / 1000).toFixed(1);
function print(name: string, losses: readonly Loss[]): void {
  for (const [what, pick] of [
    ['down', ({ down }: Loss) => down],
    ['replaced', ({ replaced }: Loss) => replaced],
  ] as const) {
    const all = losses.map(pick);
    console.log(
      `${name} ${what}: median ${seconds(median(all))} s, worst ${seconds(Math.max(...all))} s of ${all.length}`,
    );
  }
}

const only = process.argv[3];
if (only !== 'docker') print('tsswarm', await measure(OwnPeer.start()));
const docker = only === 'own' ? undefined : await DockerPeer.start(archive);
if (docker === undefined) console.log('only our own figures (Docker: apt-get install docker.io)');
else print('Docker', await measure(docker));
