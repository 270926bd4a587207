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
const CASES = [
  { what: 'create to running 1/1, ms', replicas: 1, onFirst: false, times: 5 },
  { what: '90 replicas over three nodes, ms', replicas: 90, onFirst: false, times: 1 },
  { what: '100 replicas on one node, ms', replicas: 100, onFirst: true, times: 1 },
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
  console.log(`medians of ${rounds} rounds (the first: ${rounds * CASES[0].times}); each time in brackets\n`);
  print(['what', 'tsswarm', 'Docker', 'ratio']);
  const memory = new Map<Peer, ReturnType<Peer['memory']>>();
  for (const { what, replicas, onFirst, times } of CASES) {
    const taken = new Map<Peer, number[]>(peers.map((peer) => [peer, []]));
    for (let round = 0; round < rounds * times; round++) {
      for (const peer of peers) {
        taken.get(peer)?.push(await peer.create(replicas, onFirst));
        if (onFirst && round === rounds * times - 1) {
          // What holds all the time, not what starting them took.
          await new Promise((resolve) => setTimeout(resolve, REST_MS));
          memory.set(peer, peer.memory());
        }
        await peer.remove();
      }
    }
    const [ours, theirs] = peers.map((peer) => median(taken.get(peer) ?? []));
    row(what, ours ?? 0, theirs);
    for (const all of taken.values()) console.log(`    [${all.map(Math.round).join(' ')}]`);
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

function row(what: string, ours: number, theirs: number | undefined): void {
  const digits = (value: number): string => value.toFixed(value < 100 ? 1 : 0);
  const compared = theirs === undefined ? ['-', '-'] : [digits(theirs), (ours / theirs).toFixed(3)];
  print([what, digits(ours), ...compared]);
}

function print([what = '', ...values]: readonly string[]): void {
  console.log(`${what.padEnd(46)}${values.map((value) => value.padStart(10)).join('')}`);
}
