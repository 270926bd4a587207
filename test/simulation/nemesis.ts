import type { Cluster, Member } from './cluster.ts';
import type { Managers } from './managers.ts';
import type { Act, Shape } from './profile.ts';
import type { World } from './world.ts';

/** Machines at most, those that left included. */
const MOST_MEMBERS = 9;

/** Does harm, one act after another, until `end`. */
export async function runNemesis(
  world: World,
  cluster: Cluster,
  managers: Managers | undefined,
  shape: Shape,
  end: number,
): Promise<void> {
  while (world.now < end && world.violation === undefined) {
    await world.sleep(world.between(0.2, 1.8) * cluster.profile.nemesisMs);
    if (world.now < end) act(world, cluster, managers, shape, draw(world, cluster.profile.acts));
  }
}

function draw(world: World, acts: Readonly<Partial<Record<Act, number>>>): Act {
  const weighted = Object.entries(acts) as [Act, number][];
  let dice = world.random.next() * weighted.reduce((sum, [, weight]) => sum + weight, 0);
  for (const [name, weight] of weighted) if ((dice -= weight) < 0) return name;
  return 'heal';
}

function act(world: World, cluster: Cluster, managers: Managers | undefined, shape: Shape, name: Act): void {
  const { network } = cluster;
  const members = cluster.running();
  const leader = cluster.leader();
  const address = (member: Member): string => cluster.server(member).address;
  const all = cluster.members.map(address);
  const victim = members.length > 0 ? world.pick(members) : undefined;
  const downMs = world.between(10, world.pick([100, 500, 2000]));
  switch (name) {
    case 'heal':
      return network.heal();
    case 'partition': {
      const side = new Map(all.map((at) => [at, world.chance(0.5)]));
      return cutWhere(all, network, (a, b) => side.get(a) !== side.get(b));
    }
    case 'isolate-leader': {
      if (leader === undefined) return;
      const at = address(leader);
      return cutWhere(all, network, (a, b) => a === at || b === at);
    }
    case 'one-way': {
      if (victim === undefined) return;
      const at = address(world.chance(0.5) && leader !== undefined ? leader : victim);
      const outward = world.chance(0.5);
      return cutWhere(all, network, (a, b) => (outward ? a : b) === at);
    }
    case 'bridge': {
      // Two halves that only one server sees both of.
      const middle = world.pick(all);
      const side = new Map(all.map((at) => [at, world.chance(0.5)]));
      return cutWhere(all, network, (a, b) => a !== middle && b !== middle && side.get(a) !== side.get(b));
    }
    case 'crash':
    case 'crash-leader': {
      const dying = name === 'crash' ? victim : leader;
      if (dying === undefined) return;
      // Between two events, or at one of the places where it waits for a promise.
      return world.chance(0.5) ? cluster.crash(dying, downMs) : cluster.ambush(dying, downMs);
    }
    case 'power-loss':
      for (const member of cluster.members) cluster.crash(member, world.between(10, 300));
      return;
    case 'pause': {
      // Long ones too: the others elect a new leader while this one believes to lead, and wakes up so.
      const paused = world.chance(0.5) ? leader : victim;
      const longest = world.pick([1, 3, 10]) * shape.electionTimeoutMs;
      if (paused !== undefined) paused.life.pausedUntil = world.now + world.between(10, longest);
      return;
    }
    case 'transfer':
      leader?.raft?.transferLeadership(world.chance(0.5) ? victim?.id : undefined).then(
        () => cluster.coverage.transfers++,
        () => undefined,
      );
      return;
    case 'membership':
      return managers === undefined
        ? changeMembers(world, cluster, leader)
        : changeManagers(world, cluster, managers, leader);
    case 'maintain':
      // As a change of keys does: nothing else touches the log meanwhile.
      if (victim !== undefined) {
        const { life } = victim;
        const work = (): Promise<void> => new Promise((done) => void world.after(world.between(0, 100), done, life, 6));
        world.enter(life, () => void victim.raft?.maintain(work).catch(() => undefined));
      }
      return;
  }
}

function cutWhere(all: readonly string[], network: Cluster['network'], cut: (a: string, b: string) => boolean): void {
  for (const a of all) for (const b of all) if (a !== b && cut(a, b)) network.cut(a, b);
}

function changeManagers(world: World, cluster: Cluster, managers: Managers, leader: Member | undefined): void {
  if (world.chance(0.6) && cluster.members.length < MOST_MEMBERS) {
    const joiner = cluster.add(false);
    cluster.start(joiner);
    return managers.join(joiner);
  }
  const servers = leader?.raft?.status().servers ?? [];
  if (servers.length > 2) managers.dismiss(world.pick(servers).id, world.chance(0.5));
}

function changeMembers(world: World, cluster: Cluster, leader: Member | undefined): void {
  const raft = leader?.raft;
  if (raft === undefined) return;
  const { servers } = raft.status();
  const some = world.pick(servers);
  if (some === undefined) return;
  const done = (): void => void cluster.coverage.memberships++;
  const ignore = (): void => undefined;
  switch (world.integer(0, 4)) {
    case 0:
    case 1: {
      if (cluster.members.length >= MOST_MEMBERS) return;
      const joiner = cluster.add(false);
      cluster.start(joiner);
      raft.addServer(cluster.server(joiner, world.chance(0.7))).then(done, ignore);
      return;
    }
    case 2:
      if (servers.length > 1) raft.removeServer(some.id).then(done, ignore);
      return;
    case 3:
      raft.demoteServer(some.id).then(done, ignore);
      return;
    default:
      raft.promoteServer(some.id).then(done, ignore);
  }
}
