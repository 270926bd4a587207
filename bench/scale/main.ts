/**
 * A large cluster on one machine: agents in one process (their certificates, mutual TLS and gRPC are real, their containers are
 * made up) against three real managers in network namespaces. How long they take to join, a service's tasks to run; what the
 * death of the leader under load costs; how soon the loss of agents is noticed and made good. Needs root.
 *
 * Usage: npm run bench:scale [-- AGENTS [TASKS]]
 */
import { Cluster } from './cluster.ts';
import { Fleet } from './fleet.ts';

const agents = Number(process.argv[2] ?? 1000);
const tasks = Number(process.argv[3] ?? agents * 30);
const dying = Math.round(agents * 0.3);
const more = Math.round(tasks / 10);
/** Longest that a step may take. */
const PATIENCE_MS = 300_000;
const LOOK_EVERY_MS = 100;

const say = (what: string, value = ''): void => console.log(`${what.padEnd(62)}${value.padStart(22)}`);
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

const cluster = new Cluster();
let fleet: Fleet | undefined;
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    fleet?.stop();
    cluster.stop();
    process.exit(1);
  });
try {
  fleet = new Fleet(cluster.openSwitch());
  const all = fleet;
  fleet.order({ kind: 'join', token: cluster.token, managers: cluster.managers, count: agents });
  say(`${agents} agents joined`, seconds(await all.until(({ joined }) => joined === agents, 'joining', PATIENCE_MS)));
  await all.until(({ sessions }) => sessions === agents, 'sessions', PATIENCE_MS);
  usage('after joining');

  const began = performance.now();
  await cluster.scale(tasks);
  await all.until(({ running }) => running >= tasks, `${tasks} tasks`, PATIENCE_MS);
  const upMs = performance.now() - began;
  say(`${tasks} tasks from the request to running`, `${seconds(upMs)}, ${Math.round((tasks / upMs) * 1000)}/s`);
  say('sessions lost meanwhile', String(all.standing.lost));
  usage('with all tasks');

  const before = all.standing;
  const leader = await cluster.leader();
  const killed = performance.now();
  await cluster.scale(tasks + more);
  await all.until(({ running }) => running >= tasks + more / 3, 'a third of the new tasks', PATIENCE_MS);
  const atKill = performance.now();
  await cluster.kill(leader);
  await all.until(({ running }) => running >= tasks + more, 'the tasks after the death of the leader', PATIENCE_MS);
  say(`${more} more tasks, the leader killed after a third of them`, seconds(performance.now() - killed));
  say('  from the kill on', seconds(performance.now() - atKill));
  await all.until(({ sessions }) => sessions === agents, 'all sessions again', PATIENCE_MS);
  say('  until all agents have a session again', seconds(performance.now() - atKill));
  say('containers stopped by it', String(all.standing.stopped - before.stopped));
  usage('two managers left');

  const beforeSilence = all.standing;
  const silenced = performance.now();
  fleet.order({ kind: 'silence', count: dying });
  await all.until(({ silent }) => silent.length === dying, 'silence', PATIENCE_MS);
  const gone = new Set(all.standing.silent);
  for (;;) {
    const down = (await cluster.nodes()).filter(({ id, status }) => gone.has(id) && status.state === 'down');
    if (down.length === dying) break;
    if (performance.now() - silenced > PATIENCE_MS) throw new Error(`down: ${down.length} of ${dying}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
  say(`${dying} agents silent: all of them down after`, seconds(performance.now() - silenced));
  await all.until(({ running }) => running >= tasks + more, 'replacements', PATIENCE_MS);
  say('  all of their tasks run elsewhere after', seconds(performance.now() - silenced));
  say('sessions of the others lost', String(all.standing.lost - beforeSilence.lost));
  usage('at the end');
} finally {
  fleet?.stop();
  cluster.stop();
}

function usage(when: string): void {
  const managers = cluster
    .usage()
    .map(({ rssMib, cpuSeconds }) => `${rssMib.toFixed(0)} MiB ${cpuSeconds.toFixed(0)} s`);
  const { rss, cpuMs } = fleet?.standing ?? { rss: 0, cpuMs: 0 };
  const load = `${(rss / 2 ** 20).toFixed(0)} MiB ${seconds(cpuMs)}`;
  console.log(`  ${when}: managers, RSS and CPU: ${managers.join(', ')}; agents: ${load}`);
}
