/**
 * How long a container takes to start, how long a project takes to come up, and what a container costs in memory: beside
 * Docker, in one run, in turns. Everything is measured as a user sees it, from the command to its end. Needs root.
 *
 * Usage: npm run bench:start [-- ROUNDS]
 */
import { join } from 'node:path';
import { DockerPeer } from './docker-peer.ts';
import { median } from './measure.ts';
import { OwnPeer } from './own-peer.ts';

const rounds = Number(process.argv[2] ?? 5);
const sizes = [1, 10, 50];
const archive = join(import.meta.dirname, '..', '..', '.cache', 'images', 'busybox.tar');

const own = new OwnPeer();
const docker = await DockerPeer.start(archive);
if (docker === undefined) console.log('dockerd is not installed: only our own figures (apt-get install docker.io)');
const rows: (readonly [string, number, number])[] = [];
try {
  own.runOnce();
  docker?.runOnce();
  const once: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds * 2; round++) {
    once[0].push(own.runOnce());
    if (docker !== undefined) once[1].push(docker.runOnce());
  }
  rows.push(['run --rm true, ms', median(once[0]), median(once[1])]);
  let memory: { own: ReturnType<OwnPeer['memory']>; docker: ReturnType<DockerPeer['memory']> | undefined } | undefined;
  for (const size of sizes) {
    const up: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      up[0].push(own.up(size));
      const ownMemory = own.memory();
      own.down(size);
      if (docker !== undefined) {
        up[1].push(await docker.up(size));
        memory = { own: ownMemory, docker: docker.memory() };
        await docker.down();
      } else memory = { own: ownMemory, docker: undefined };
    }
    rows.push([`up of ${size}, ms`, median(up[0]), median(up[1])]);
  }
  if (memory !== undefined) {
    rows.push(['memory per container, KiB', memory.own.perContainer / 1024, (memory.docker?.perContainer ?? 0) / 1024]);
    rows.push([
      `daemons at ${sizes.at(-1) ?? 0} containers, MiB`,
      memory.own.daemons / 2 ** 20,
      (memory.docker?.daemons ?? 0) / 2 ** 20,
    ]);
  }
} finally {
  own.stop();
  await docker?.stop();
}

console.log(`medians of ${rounds} rounds (run: ${rounds * 2})\n`);
console.log(`${'what'.padEnd(34)}${'tsswarm'.padStart(10)}${'Docker'.padStart(10)}${'ratio'.padStart(8)}`);
for (const [what, ours, theirs] of rows) {
  const ratio = theirs > 0 ? (ours / theirs).toFixed(2) : '-';
  console.log(
    `${what.padEnd(34)}${ours.toFixed(0).padStart(10)}${(theirs > 0 ? theirs.toFixed(0) : '-').padStart(10)}${ratio.padStart(8)}`,
  );
}
