/**
 * What a network between two machines carries: the bare wire, a VXLAN made by hand in the way that ours is made, our overlay, Docker's
 * overlay, and a published port of each, ours also over IPv6 by the process that hands callers on, one after another in each round; requests to a service by its virtual address beside the same
 * requests to the container itself; how soon a task that runs is known by name on another node; what a name costs the daemon. Needs root, iperf3 and wrk. Two network namespaces on one kernel: the ratios count, not the figures.
 *
 * Usage: npm run bench:network [-- ROUNDS [own]]      own: without Docker
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { DockerPeer } from '../services/docker-peer.ts';
import { median } from '../start/measure.ts';
import { HandMadeOverlay } from './hand-made.ts';
import { compareRequests, requestsPerSecond, throughput } from './load.ts';
import type { Pair } from './load.ts';
import { namesPerCpuSecond, timesToName } from './names.ts';
import { OwnOverlay } from './own-overlay.ts';

const rounds = Number(process.argv[2] ?? 3);
const images = join(import.meta.dirname, '..', '..', '.cache', 'images');
const STARTS = 15;
const TURNS = 24;

const missing = ['iperf3', 'wrk'].filter((program) => spawnSync(program, ['--version']).error !== undefined);
if (missing.length > 0) {
  console.error(`error: ${missing.join(' and ')} cannot be run\nhint: apt-get install ${missing.join(' ')}`);
  process.exit(1);
}
const own = OwnOverlay.start();
let byHand: HandMadeOverlay | undefined;
let docker: DockerPeer | undefined;
try {
  byHand = HandMadeOverlay.between(own.machines, own.wire);
  docker = process.argv[3] === 'own' ? undefined : await DockerPeer.start(join(images, 'busybox.tar'));
  const pairs: (readonly [what: string, pair: Pair])[] = [
    ['bare wire', own.wire],
    ['VXLAN by hand', byHand.pair],
    ['tsswarm overlay', own.overlay],
  ];
  const ports: (readonly [what: string, pair: Pair])[] = [
    ['tsswarm published', own.published],
    ['… over IPv6', own.relayed],
  ];
  const dockerPair = docker?.overlayPair();
  if (docker !== undefined && dockerPair !== undefined) {
    pairs.push(['Docker overlay', dockerPair]);
    ports.push(['Docker published', docker.publishedPair(join(images, 'nginx.tar'))]);
  }
  pairs.push(...ports);
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
  console.log(
    '\nrequests a second from another node, to the container and to the virtual address, in turns of a second',
  );
  for (const [what, fresh] of [
    ['on connections that stand', false],
    ['each by a connection of its own', true],
  ] as const) {
    const ways = [own.overlay.address, own.virtualAddress] as const;
    const { one, other, ratio, middleHalf } = compareRequests(own.overlay.client, ways, TURNS, fresh);
    const half = middleHalf.map((value) => value.toFixed(3)).join(' to ');
    console.log(
      `${what.padEnd(33)}${Math.round(one)} and ${Math.round(other)}, ${ratio.toFixed(3)} (median of ${TURNS} pairs of turns; half of them ${half})`,
    );
  }
  const published = new Map<string, number[]>(ports.map(([what]) => [what, []]));
  for (let round = 0; round < rounds; round++)
    for (const [what, { client, address }] of ports) published.get(what)?.push(requestsPerSecond(client, address));
  for (const [what, all] of published)
    console.log(`${what}: ${Math.round(median(all))} requests a second from another node`);
  const told = (times: readonly number[]): string =>
    `${median(times).toFixed(0)} ms (median of ${times.length}; longest ${Math.max(...times).toFixed(0)} ms)`;
  const ours = await timesToName(own.overlay.client, 'tasks.fresh', STARTS, () => own.startFresh());
  console.log(`\nfrom running to known by name on another node: ${told(ours)}`);
  if (docker !== undefined && dockerPair !== undefined) {
    const peer = docker;
    const theirs = await timesToName(dockerPair.client, 'tasks.fresh', Math.min(STARTS, 5), () => peer.startFresh());
    console.log(`the same with Docker: ${told(theirs)}`);
  }
  const names = await namesPerCpuSecond(own.overlay.client, 'server', own.daemon);
  console.log(`names answered in a second of the daemon's CPU: ${Math.round(names)}`);
} finally {
  try {
    await docker?.stop();
  } finally {
    byHand?.remove();
    own.stop();
  }
}
