/**
 * How long a service takes from the typed command until its containers run, and what the daemons hold in memory then: three
 * managers in network namespaces, beside Docker Swarm of the same shape in the same run, in turns. Needs root.
 *
 * Usage: npm run bench:services [-- ROUNDS [own]]      own: without Docker
 */
import { join } from 'node:path';
import { median } from '../start/measure.ts';
import { Disk } from '../disk.ts';
import { DockerPeer } from './docker-peer.ts';
import type { ProcessMemory } from './memory.ts';
import { OwnPeer } from './own-peer.ts';
import type { Peer } from './peer.ts';

const rounds = Number(process.argv[2] ?? 3);
const archive = join(import.meta.dirname, '..', '..', '.cache', 'images', 'busybox.tar');
/** One container, in so many turns a round: by the command that takes all of it as flags, and from a file. */
const TURNS_OF_ONE = 5;
const ONE = [
  {
    what: 'service create -d to running 1/1, ms',
    create: (peer: Peer) => peer.createByFlags(),
    remove: (peer: Peer) => peer.removeByFlags(),
  },
  {
    what: 'up -d (stack deploy) to running 1/1, ms',
    create: (peer: Peer) => peer.deploy(),
    remove: (peer: Peer) => peer.removeDeployed(),
  },
];
const MANY = [
  { what: '90 replicas over three nodes, ms', replicas: 90, onFirst: false },
  { what: '100 replicas on one node, ms', replicas: 100, onFirst: true },
] as const;
/** Rest of a peer before its memory is looked at. */
const REST_MS = 10_000;

const disk = Disk.create();
const own = OwnPeer.start(disk);
let docker: DockerPeer | undefined;
try {
  docker = process.argv[3] === 'own' ? undefined : await DockerPeer.start(archive, disk);
  if (docker === undefined) console.log('only our own figures (Docker: apt-get install docker.io)');
  const peers: readonly Peer[] = docker === undefined ? [own] : [own, docker];
  for (const peer of peers) {
    await peer.create(3, false);
    await peer.remove();
  }
  console.log(`medians of ${rounds} rounds (one container: ${rounds * TURNS_OF_ONE}); each time in brackets\n`);
  print(['what', 'tsswarm', 'Docker', 'ratio']);
  const ones: (readonly number[])[] = [];
  for (const { what, create, remove } of ONE) {
    const taken = await inTurns(peers, rounds * TURNS_OF_ONE, create, remove);
    ones.push(tell(what, taken));
  }
  // Until 22 November this was the row: our command that makes a network too, beside Docker's that makes none.
  row('up -d beside Docker’s service create, ms', ones[1]?.[0] ?? 0, ones[0]?.[1]);
  const memory = new Map<Peer, ReturnType<Peer['memory']>>();
  for (const { what, replicas, onFirst } of MANY) {
    const taken = await inTurns(
      peers,
      rounds,
      (peer) => peer.create(replicas, onFirst),
      async (peer, isLast) => {
        if (onFirst && isLast) {
          // What holds all the time, not what starting them took.
          await new Promise((resolve) => setTimeout(resolve, REST_MS));
          memory.set(peer, peer.memory());
        }
        await peer.remove();
      },
    );
    tell(what, taken);
  }
  const [ours, theirs] = peers.map((peer) => memory.get(peer));
  for (const [key, name] of [
    ['rss', 'RSS'],
    ['pss', 'PSS'],
    ['anonymous', 'anonymous'],
  ] as const) {
    const mib = (of: ProcessMemory | undefined): number | undefined =>
      of === undefined ? undefined : of[key] / 2 ** 20;
    row(`daemons at 100 containers, at rest, ${name}, MiB`, mib(ours?.daemons) ?? 0, mib(theirs?.daemons));
    row(`one container's supervisor, ${name}, MiB`, mib(ours?.container) ?? 0, mib(theirs?.container));
  }
} finally {
  try {
    await docker?.stop();
  } finally {
    await own.stop();
    disk.remove();
  }
}

/** @returns of each peer how long each turn took, ms */
async function inTurns(
  peers: readonly Peer[],
  turns: number,
  create: (peer: Peer) => Promise<number>,
  remove: (peer: Peer, isLast: boolean) => Promise<void>,
): Promise<readonly (readonly number[])[]> {
  const taken: number[][] = peers.map(() => []);
  for (let turn = 0; turn < turns; turn++) {
    for (const [index, peer] of peers.entries()) {
      taken[index]?.push(await create(peer));
      await remove(peer, turn === turns - 1);
    }
  }
  return taken;
}

/** @returns the medians */
function tell(what: string, taken: readonly (readonly number[])[]): readonly number[] {
  const medians = taken.map((all) => median(all));
  row(what, medians[0] ?? 0, medians[1]);
  for (const all of taken) console.log(`    [${all.map(Math.round).join(' ')}]`);
  return medians;
}

function row(what: string, ours: number, theirs: number | undefined): void {
  const digits = (value: number): string => value.toFixed(value < 100 ? 1 : 0);
  const compared = theirs === undefined ? ['-', '-'] : [digits(theirs), (ours / theirs).toFixed(3)];
  print([what, digits(ours), ...compared]);
}

function print([what = '', ...values]: readonly string[]): void {
  console.log(`${what.padEnd(46)}${values.map((value) => value.padStart(10)).join('')}`);
}
