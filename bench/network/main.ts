/**
 * What a network between two machines carries: the bare wire, a VXLAN made by hand in the way that ours is made, our overlay, Docker's
 * overlay, one after another in each round; and requests to a service by its virtual address beside the same requests to the container
 * itself. Needs root, iperf3 and wrk. Two network namespaces on one kernel: the ratios count, not the figures.
 *
 * Usage: npm run bench:network [-- ROUNDS [own]]      own: without Docker
 */
import { join } from 'node:path';
import { DockerPeer } from '../services/docker-peer.ts';
import { median } from '../start/measure.ts';
import { HandMadeOverlay } from './hand-made.ts';
import { requestsPerSecond, throughput } from './load.ts';
import type { Pair } from './load.ts';
import { OwnOverlay } from './own-overlay.ts';

const rounds = Number(process.argv[2] ?? 3);
const archive = join(import.meta.dirname, '..', '..', '.cache', 'images', 'busybox.tar');

const own = OwnOverlay.start();
let byHand: HandMadeOverlay | undefined;
let docker: DockerPeer | undefined;
try {
  byHand = HandMadeOverlay.between(own.machines, own.wire);
  docker = process.argv[3] === 'own' ? undefined : await DockerPeer.start(archive);
  const pairs: (readonly [what: string, pair: Pair])[] = [
    ['bare wire', own.wire],
    ['VXLAN by hand', byHand.pair],
    ['tsswarm overlay', own.overlay],
  ];
  if (docker !== undefined) pairs.push(['Docker overlay', docker.overlayPair()]);
  const carried = new Map<string, number[]>(pairs.map(([what]) => [what, []]));
  for (let round = 0; round < rounds; round++)
    for (const [what, pair] of pairs) carried.get(what)?.push(await throughput(pair));
  const hand = median(carried.get('VXLAN by hand') ?? []);
  console.log(`one TCP connection, medians of ${rounds} rounds of three seconds`);
  for (const [what, gbits] of carried) {
    const all = gbits.map((one) => one.toFixed(1)).join(' ');
    console.log(
      `${what.padEnd(18)}${median(gbits).toFixed(2).padStart(7)} Gbit/s  ${(median(gbits) / hand).toFixed(2)} of by hand  [${all}]`,
    );
  }
  const requests = { direct: [] as number[], virtual: [] as number[] };
  for (let round = 0; round < rounds; round++) {
    requests.direct.push(requestsPerSecond(own.overlay.client, own.overlay.address));
    requests.virtual.push(requestsPerSecond(own.overlay.client, own.virtualAddress));
  }
  const [direct, virtual] = [median(requests.direct), median(requests.virtual)];
  console.log(
    `\nrequests a second from another node: ${Math.round(direct)} to the container, ${Math.round(virtual)} to the virtual address ` +
      `(${(virtual / direct).toFixed(3)})`,
  );
} finally {
  try {
    await docker?.stop();
  } finally {
    byHand?.remove();
    own.stop();
  }
}
