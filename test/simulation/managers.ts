import type { ClusterId, NodeId } from '../../base/ids.ts';
import type { Clock } from '../../base/clock.ts';
import { silentLogger } from '../../base/log.ts';
import { keepPlace } from '../../cli/tsswarmd/keep-place.ts';
import { clusterOf } from '../../manager/ca/cluster.ts';
import { runRoleLoop } from '../../manager/cluster/loop.ts';
import { raftGroup } from '../../manager/cluster/raft-group.ts';
import { runUpkeepLoop } from '../../manager/cluster/upkeep/loop.ts';
import type { Raft } from '../../manager/raft/types.ts';
import type { ResumableStore } from '../../manager/store/types.ts';
import type { Cluster as ClusterObject, Node } from '../../proto/types/index.ts';
import type { Cluster, Member } from './cluster.ts';
import { Stored } from './stored.ts';
import type { Services } from './services/services.ts';
import type { Workload } from './workload.ts';
import type { Life, World } from './world.ts';

const META = { version: 0, createdAt: 0, updatedAt: 0 };

/**
 * The part of the product that decides who is a member of Raft, as its managers run it: nodes with a role in the store, the
 * leader's loops, joining through the leader, and managers that find their way back.
 */
export class Managers {
  readonly #world: World;
  readonly #cluster: Cluster;
  readonly #policy;
  readonly #workload: Workload | undefined;
  readonly #services: Services | undefined;

  constructor(world: World, cluster: Cluster, workload: Workload | undefined, services: Services | undefined) {
    this.#services = services;
    this.#workload = workload;
    this.#world = world;
    this.#cluster = cluster;
    this.#policy = {
      stableMs: world.between(100, 2000),
      nonVoterAfterMs: world.between(300, 3000),
      voterAfterMs: world.chance(0.6) ? world.between(500, 3000) : undefined,
      minVoters: world.pick([1, 2, 3]),
    };
    cluster.onStart = (member, life, raft) => this.#started(member, life, raft);
    void this.#found();
  }

  /** A machine that is to become a manager; it may die at any time, and so may who lets it in. */
  join(joiner: Member): void {
    void this.#joining(joiner).catch(() => undefined);
  }

  /** Takes the role from a manager, or forgets it altogether: the leader has to see to the rest. */
  dismiss(id: string, forget: boolean): void {
    const { leader, store } = this.#leader();
    if (leader === undefined || store === undefined) return;
    this.#world.enter(leader.life, () => {
      const change = store.update((tx) => {
        const node = tx.get('node', id as NodeId);
        const others = tx.list('node').filter((other) => other.id !== id && other.spec.role === 'manager');
        if (node === undefined || others.length === 0) return;
        if (forget) tx.remove('node', node.id);
        else tx.update('node', { ...node, spec: { ...node.spec, role: 'worker' } });
      });
      change.then(
        () => void this.#cluster.coverage.dismissals++,
        () => undefined,
      );
    });
  }

  /** Whether the members of Raft are those, and all those, that are to be managers. */
  settled(): boolean {
    const { leader, store } = this.#leader();
    const servers = leader?.raft?.status().servers ?? [];
    const managers = store?.view((tx) => tx.list('node').filter(({ spec }) => spec.role === 'manager')) ?? [];
    const voters = servers.filter(({ voter }) => voter);
    return (
      leader !== undefined &&
      voters.length === servers.length &&
      servers.length === managers.length &&
      servers.every(({ id }) => managers.some((node) => node.id === id))
    );
  }

  describe(): string {
    const { leader, store } = this.#leader();
    const servers = leader?.raft?.status().servers.map(({ id, voter }) => `${id}${voter ? '' : '*'}`);
    const nodes = store?.view((tx) => tx.list('node').map(({ id, spec }) => `${id} ${spec.role}`));
    return `Raft has ${servers?.join(' ')}; the store has ${nodes?.join(', ')}`;
  }

  #leader(): { leader: Member | undefined; store: ResumableStore | undefined } {
    const leader = this.#cluster.leader();
    return { leader, store: leader?.contents instanceof Stored ? leader.contents.store : undefined };
  }

  /** The first leader writes down what the cluster is. */
  async #found(): Promise<void> {
    const world = this.#world;
    const founders = this.#cluster.members.filter(({ founder }) => founder);
    while (world.violation === undefined) {
      await world.sleep(world.between(10, 200));
      const { leader, store } = this.#leader();
      if (leader === undefined || store === undefined || !leader.life.alive) continue;
      if (store.view((tx) => tx.list('cluster').length) > 0) return;
      const dispatcherHeartbeatMs = this.#services?.heartbeatMs;
      const spec = { ...CLUSTER.spec, ...(dispatcherHeartbeatMs === undefined ? {} : { dispatcherHeartbeatMs }) };
      const bare = { ...CLUSTER, spec };
      const cluster = (await this.#services?.identities.found(bare)) ?? bare;
      const workers = (this.#services ?? this.#workload)?.nodes(WORKER) ?? [];
      const nodes: Node[] = [];
      for (const one of [...founders.map(({ id }) => node(id)), ...workers])
        nodes.push(await this.#certified(cluster, one));
      const founding = store.update((tx) => {
        if (tx.list('cluster').length > 0) return;
        tx.create('cluster', cluster);
        for (const one of nodes) tx.create('node', one);
      });
      // A leader that dies never answers.
      await Promise.race([founding.catch(() => undefined), world.sleep(500)]);
    }
  }

  async #certified(cluster: ClusterObject, one: Node): Promise<Node> {
    const certificate = await this.#services?.identities.certify(cluster, one.id, one.spec.role);
    return certificate === undefined ? one : { ...one, certificate };
  }

  async #joining(joiner: Member): Promise<void> {
    const { leader, store } = this.#leader();
    if (leader === undefined || store === undefined) return;
    // Nobody can be let in before it is written down who lets in.
    if (store.view((tx) => tx.list('cluster').length) === 0) return;
    const joined = await this.#certified(store.view(clusterOf), node(joiner.id));
    await this.#at(leader, () => store.update((tx) => tx.create('node', joined)));
    await this.#admit(joiner, new AbortController().signal);
  }

  async #admit(joiner: Member, signal: AbortSignal): Promise<void> {
    const { leader, store } = this.#leader();
    if (leader?.raft === undefined || store === undefined) throw new Error('nobody leads');
    const { raft } = leader;
    // As the membership service: only who is to be a manager, and who can be reached.
    const { id, address } = this.#cluster.server(joiner);
    const clock = this.#world.clock(leader.life, 1);
    const asked = this.#at(leader, async () => {
      if (store.view((tx) => tx.get('node', id as NodeId))?.spec.role !== 'manager') throw new Error('it is none');
      if (joiner.life.alive) await raftGroup(raft, clock).admit(id as NodeId, address, signal);
    });
    await Promise.race([asked, ended(signal)]);
    this.#cluster.coverage.memberships++;
  }

  /** Runs something in a process; it is never heard of again if that dies. */
  #at(member: Member, work: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#world.enter(member.life, () => void work().then(resolve, reject));
    });
  }

  #started(member: Member, life: Life, raft: Raft): void {
    const { store } = member.contents as Stored;
    if (store === undefined) return;
    const clock = this.#world.clock(life, 1);
    const logger = silentLogger;
    const group = raftGroup(raft, clock);
    if (this.#services !== undefined) this.#services.manage(member, life, raft, group, this.#policy);
    else this.#lead(raft, life, store, clock);
    const backEnd = {
      leadership: raft,
      standing: () => {
        const self = raft.status().servers.find(({ id }) => id === member.id);
        return self === undefined ? ('new' as const) : ('member' as const);
      },
    };
    const { signal } = new AbortController();
    const join = async (_heard: boolean, patience: AbortSignal): Promise<void> => {
      await this.#admit(member, patience);
      this.#cluster.coverage.returns++;
    };
    void keepPlace({ backEnd, clock, logger, join }, signal);
  }

  /** The leader's loops, and no workers but those that the workload plays. */
  #lead(raft: Raft, life: Life, store: ResumableStore, clock: Clock): void {
    const logger = silentLogger;
    const group = raftGroup(raft, clock);
    let leading: AbortController | undefined;
    const begin = (): void => {
      if (leading !== undefined) return;
      leading = new AbortController();
      const { signal } = leading;
      void runRoleLoop({ store, clock, logger, group }, signal);
      this.#workload?.lead(store, clock, signal);
      void runUpkeepLoop({ store, raft, clock, logger, policy: this.#policy }, signal);
    };
    raft.observe((event) => {
      if (!life.alive) return;
      if (event.kind === 'leader' && event.isSelf) begin();
      if (event.kind !== 'role' || event.role === 'leader') return;
      leading?.abort(new Error('it leads no more'));
      leading = undefined;
    });
    if (raft.status().ready) begin();
  }
}

/** Whoever asks gives up at some time: a process that died never answers. */
function ended(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
}

const CLUSTER: ClusterObject = {
  id: 'cluster' as ClusterId,
  meta: META,
  spec: { name: 'default', taskHistoryLimit: 5, addressPools: ['10.128.0.0/12'], addressPoolPrefix: 24 },
  joinTokens: { worker: '', manager: '' },
  rootCaCertificate: '',
  rootCaKey: '',
};

const node = (id: string): Node => ({
  id: id as NodeId,
  meta: META,
  // Tasks are for the workers.
  spec: { role: 'manager', availability: 'pause', labels: {} },
  description: {
    hostname: id,
    platform: { os: 'linux', architecture: 'x86_64' },
    resources: { nanoCpus: 1e9, memoryBytes: 1 << 30 },
    engine: { version: '1', labels: {} },
  },
  status: { state: 'ready', message: '', address: '' },
});

const WORKER: Node = { ...node('worker'), spec: { role: 'worker', availability: 'active', labels: {} } };
