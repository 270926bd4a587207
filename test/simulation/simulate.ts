import { setImmediate } from 'node:timers/promises';
import { Cluster } from './cluster.ts';
import type { Coverage } from './cluster.ts';
import { Clients } from './clients.ts';
import { checkRegister } from './linearizability.ts';
import { Managers } from './managers.ts';
import { runNemesis } from './nemesis.ts';
import { PROFILE_NAMES, drawProfile, drawShape } from './profile.ts';
import type { Profile, ProfileName, Shape } from './profile.ts';
import { Services } from './services/services.ts';
import { followSignals } from './signals.ts';
import { Watcher } from './watchers.ts';
import { Workload } from './workload.ts';
import { World } from './world.ts';

/** Simulated ms in which faults happen. */
const FAULTS_MS = 10_000;
/** Simulated ms in which everything must have come right afterwards, on top of election timeouts. */
const SETTLE_MS = 20_000;
/** In which left-over members go or get their vote, and those that were taken out come back: patience of both, and a join. */
const UPKEEP_MS = 120_000;
/** In which everything runs that the service asks for. */
const WORK_MS = 30_000;
/** The same with real agents: sessions are found again, updates go slot by slot. */
const SERVICES_MS = 120_000;
/** In which whoever watches the store finds a member to watch it at. */
const WATCH_MS = 2_000;
const WATCHERS = 3;
const CALM = { drop: 0, duplicate: 0, slowMessage: 0, slowMessageMs: 0, slowWrite: 0, slowWriteMs: 0, failWrite: 0 };

export interface Outcome {
  readonly seed: number;
  readonly profile: ProfileName;
  /** Undefined: nothing that must never happen did. */
  readonly violation: string | undefined;
  /** The same for every run of the same seed, profile and code. */
  readonly hash: string;
  readonly events: number;
  readonly simulatedMs: number;
  readonly coverage: Coverage;
  readonly shape: Shape;
}

/**
 * Runs one seed: faults and clients, then healing, then the questions that can be asked only at the end.
 * @param stacks whether errors know where they come from: refusals are most of a run, and a quarter of its time goes there
 */
export async function simulate(seed: number, profileName: ProfileName, stacks = false): Promise<Outcome> {
  const limit = Error.stackTraceLimit;
  if (!stacks) Error.stackTraceLimit = 0;
  const letGo = followSignals();
  try {
    return await run(seed, profileName);
  } finally {
    letGo();
    Error.stackTraceLimit = limit;
    // What a WeakRef was made of is kept until the event loop has its turn.
    await setImmediate();
  }
}

async function run(seed: number, profileName: ProfileName): Promise<Outcome> {
  const world = new World((Math.imul(seed, 0x9e3779b1) ^ (PROFILE_NAMES.indexOf(profileName) << 28)) | 0);
  const drawn = drawShape(world);
  const profile = drawProfile(profileName, world);
  // A store's snapshot is some thousand bytes: at 16 to a message nothing else would happen.
  const larger = profile.store === true ? 16 : 1;
  const shape = { ...drawn, snapshotChunkBytes: drawn.snapshotChunkBytes * larger };
  const cluster = new Cluster(world, shape, profile);
  const clients = new Clients(world, cluster, shape);
  const faultsMs = profile.services ?? FAULTS_MS;
  // With services there is enough to do: only the questions at the end are asked by these clients.
  if (profile.services === undefined) clients.run(faultsMs);
  const watches = profile.store === true && profile.services === undefined;
  const watchers = Array.from({ length: watches ? WATCHERS : 0 }, () => new Watcher(world, cluster));
  for (const watcher of watchers) void watcher.run();
  // Not always: it fills the log, and what comes of few entries is worth a look too.
  const workload = watches && world.chance(0.3) ? new Workload(world, cluster) : undefined;
  workload?.run(faultsMs);
  const services = profile.services === undefined ? undefined : new Services(world, cluster, shape.delayMs, faultsMs);
  const managers = profile.store === true ? new Managers(world, cluster, workload, services) : undefined;
  services?.run(faultsMs);
  void runNemesis(world, cluster, managers, shape, faultsMs);
  await world.runUntil(faultsMs);
  if (world.violation === undefined)
    await settle({ world, cluster, clients, watchers, managers, workload, services, shape, profile });
  if (services !== undefined) Object.assign(cluster.coverage, services.covered());
  if (world.violation === undefined) judge(world, clients);
  return {
    seed,
    profile: profileName,
    violation: world.violation?.message,
    hash: world.hash,
    events: world.events,
    simulatedMs: world.now,
    coverage: cluster.coverage,
    shape,
  };
}

interface Running {
  readonly world: World;
  readonly cluster: Cluster;
  readonly clients: Clients;
  readonly watchers: readonly Watcher[];
  readonly managers: Managers | undefined;
  readonly workload: Workload | undefined;
  readonly services: Services | undefined;
  readonly shape: Shape;
  readonly profile: Profile;
}

/** Liveness: with faults ended there is a leader, it takes writes, and everybody comes to the same state. */
async function settle({
  world,
  cluster,
  clients,
  watchers,
  managers,
  workload,
  services,
  shape,
  profile,
}: Running): Promise<void> {
  cluster.profile = { ...profile, ...CALM };
  cluster.network.heal();
  // What was under way may still arrive; every machine is switched on.
  await world.runUntil(world.now + profile.slowMessageMs + profile.slowWriteMs + 3 * shape.electionTimeoutMs);
  for (const member of cluster.members) {
    member.life.pausedUntil = 0;
    cluster.start(member);
  }
  services?.calm();
  const electedBy = world.now + 2.5 * 10 * shape.electionTimeoutMs + 20 * (shape.delayMs + shape.writeMs);
  const ready = (): boolean => cluster.leader()?.raft?.status().ready === true;
  await world.runUntil(electedBy, ready);
  if (world.violation !== undefined) return;
  if (!ready()) return world.fail(`liveness: no leader ten election timeouts after healing\n${describe(cluster)}`);
  let answered = false;
  void (async () => {
    while (world.violation === undefined && !((await clients.write()) && (await clients.readAll())))
      await world.sleep(20);
    answered = true;
  })();
  const end = world.now + SETTLE_MS;
  await world.runUntil(end, () => answered);
  if (world.violation !== undefined) return;
  if (!answered) return world.fail(`liveness: writes and reads are not answered after healing\n${describe(cluster)}`);
  if (managers !== undefined) {
    await world.runUntil(world.now + UPKEEP_MS, () => managers.settled());
    if (world.violation !== undefined) return;
    if (!managers.settled())
      return world.fail(
        `liveness: the members of Raft do not become the managers: ${managers.describe()}\n${describe(cluster)}`,
      );
  }
  if (workload !== undefined) {
    await world.runUntil(world.now + WORK_MS, () => workload.settled());
    if (world.violation !== undefined) return;
    if (!workload.settled()) return world.fail(`liveness: not what was asked for runs: ${workload.describe()}`);
  }
  if (services !== undefined) {
    await world.runUntil(world.now + SERVICES_MS, () => services.settled());
    if (world.violation !== undefined) return;
    if (!services.settled()) return world.fail(`liveness: not what the services say runs: ${services.describe()}`);
    if (services.untilMs > world.now) {
      await world.runUntil(services.untilMs);
      services.look();
    }
    if (world.violation !== undefined) return;
  }
  // With a window of one entry whoever lags needs a round for each.
  const entries = cluster.leader()?.raft?.status().lastIndex ?? 0;
  // And one that was let in again has been a candidate meanwhile: its term ends the leader's.
  const electing = services === undefined ? 0 : 20 * shape.electionTimeoutMs;
  await world.runUntil(Math.max(end, world.now) + entries * 4 * (shape.delayMs + shape.writeMs) + electing, () =>
    converged(cluster),
  );
  if (world.violation !== undefined) return;
  if (!converged(cluster))
    return world.fail(`liveness: the members do not come to the same state\n${describe(cluster)}`);
  const seen = (): boolean => watchers.every((watcher) => watcher.version === cluster.reference.version);
  await world.runUntil(world.now + WATCH_MS, seen);
  if (world.violation === undefined && !seen())
    world.fail(
      `liveness: watchers are at ${watchers.map(({ version }) => version).join()}, the store at ${cluster.reference.version}`,
    );
}

function converged(cluster: Cluster): boolean {
  const leader = cluster.leader();
  const status = leader?.raft?.status();
  if (leader === undefined || status?.appliedIndex !== status?.lastIndex) return false;
  const expected = leader.contents.describe();
  return (status?.servers ?? []).every(({ id }) => {
    const member = cluster.members.find((other) => other.id === id);
    if (member?.raft?.status().appliedIndex !== status?.appliedIndex) return false;
    return member?.contents.describe() === expected;
  });
}

function judge(world: World, clients: Clients): void {
  const keys = Map.groupBy(clients.history, ({ key }) => key);
  for (const [key, history] of keys) {
    const best = checkRegister(history);
    if (best === undefined) continue;
    const stuck = history
      .filter((operation) => operation.returnedAt !== Infinity && !best.includes(operation))
      .sort((a, b) => a.returnedAt - b.returnedAt)
      .slice(0, 4);
    const show = stuck.map(
      ({ kind, value, expected, result, calledAt, returnedAt }) =>
        `${kind}(${kind === 'cas' ? `${expected}, ` : ''}${value}) = "${result}" from ${calledAt} to ${returnedAt}`,
    );
    world.fail(`linearizability: no order explains the ${history.length} operations on ${key}:\n${show.join('\n')}`);
  }
}

function describe(cluster: Cluster): string {
  return cluster.members
    .map(({ id, raft, life, platter }) => {
      const status = raft?.status();
      const members = status?.servers.map((server) => `${server.id}${server.voter ? '' : '*'}:${server.matchIndex}`);
      return `  ${id} ${life.alive ? '' : 'down '}${status?.role} term ${status?.term} last ${status?.lastIndex} commit ${status?.commitIndex} applied ${status?.appliedIndex} leader ${status?.leaderId} disk ${platter.base}+${platter.entries.length} [${members?.join(' ')}]`;
    })
    .join('\n');
}
