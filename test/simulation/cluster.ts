import { messageOf } from '../../base/errors.ts';
import { silentLogger } from '../../base/log.ts';
import type { Entry, Raft, Server } from '../../manager/raft/types.ts';
import { INJECTED, blankPlatter, crashDisk, simulatedLog, simulatedSnapshots } from './disk.ts';
import type { Platter } from './disk.ts';
import type { Contents, Hooks } from './contents.ts';
import { Invariants } from './invariants.ts';
import { Network } from './network.ts';
import { Reference } from './reference.ts';
import { Registers } from './registers.ts';
import { Stored } from './stored.ts';
import type { Profile, Shape } from './profile.ts';
import type { Life, World } from './world.ts';

/** What happened in a run: a simulation that never truncates a log proves nothing about truncation. */
export interface Coverage {
  certificates: number;
  caRotations: number;
  elections: number;
  truncations: number;
  snapshots: number;
  installs: number;
  memberships: number;
  transfers: number;
  crashes: number;
  ambushes: number;
  diskFaults: number;
  acknowledged: number;
  reads: number;
  unknown: number;
  conflicts: number;
  watched: number;
  resumes: number;
  relists: number;
  dismissals: number;
  returns: number;
  rollouts: number;
  containers: number;
  agentCrashes: number;
  powerLosses: number;
  cutOffs: number;
  replacements: number;
  rollbacks: number;
  orphans: number;
  placements: number;
  volumeStarts: number;
  fencedStarts: number;
  completions: number;
  hostPorts: number;
  releases: number;
  liveChanges: number;
  refusals: number;
  downs: number;
  nodesRemoved: number;
}

export const NO_COVERAGE: Coverage = {
  certificates: 0,
  caRotations: 0,
  elections: 0,
  truncations: 0,
  snapshots: 0,
  installs: 0,
  memberships: 0,
  transfers: 0,
  crashes: 0,
  ambushes: 0,
  diskFaults: 0,
  acknowledged: 0,
  reads: 0,
  unknown: 0,
  conflicts: 0,
  watched: 0,
  resumes: 0,
  relists: 0,
  dismissals: 0,
  returns: 0,
  rollouts: 0,
  containers: 0,
  agentCrashes: 0,
  powerLosses: 0,
  cutOffs: 0,
  replacements: 0,
  rollbacks: 0,
  orphans: 0,
  placements: 0,
  volumeStarts: 0,
  fencedStarts: 0,
  completions: 0,
  hostPorts: 0,
  releases: 0,
  liveChanges: 0,
  refusals: 0,
  downs: 0,
  nodesRemoved: 0,
};

const NO_HOOKS: Hooks = {
  applied: () => undefined,
  restored: () => undefined,
  delay: () => Promise.resolve(),
  fail: () => undefined,
};

/** A machine: its disk, and the process on it when there is one. */
export interface Member {
  readonly id: string;
  readonly platter: Platter;
  readonly founder: boolean;
  /** By what its clock is wrong, where that has to be the same for all that runs on it. */
  readonly skewMs: number | undefined;
  life: Life;
  contents: Contents;
  /** Index of the last entry that this life applied. */
  applied: number;
  raft: Raft | undefined;
  /** It left the cluster for good and is not started again. */
  gone: boolean;
  holdsLease(): boolean;
  leadership(): { readonly term: number; readonly voters: readonly string[] | undefined };
}

/** The product's Raft on simulated machines. */
export class Cluster {
  readonly members: Member[] = [];
  readonly network: Network;
  readonly invariants: Invariants;
  /** What members that keep a store have to hold. */
  readonly reference: Reference;
  readonly coverage: Coverage = { ...NO_COVERAGE };
  readonly #world: World;
  readonly #shape: Shape;
  profile: Profile;
  /** Called when a process has started. */
  onStart: (member: Member, life: Life, raft: Raft) => void = () => undefined;
  /** Called when a process has ended, before another one is started. */
  onCrash: (member: Member) => void = () => undefined;
  /** Called for every entry that is applied anywhere. */
  onCommit: (entry: Entry) => void = () => undefined;

  constructor(world: World, shape: Shape, profile: Profile) {
    this.#world = world;
    this.#shape = shape;
    this.profile = profile;
    this.invariants = new Invariants(world, () => this.members);
    this.reference = new Reference((message) => world.fail(message));
    this.network = new Network(
      world,
      shape,
      () => this.profile,
      (message) => {
        this.invariants.sent(message);
        if (message.kind === 'heartbeat' && this.#leasesHold()) this.invariants.sole();
      },
    );
    for (let i = 0; i < shape.founders; i++) this.start(this.add(true));
  }

  /** A new machine with an empty disk. */
  add(founder: boolean): Member {
    const platter = blankPlatter();
    const { maxSkewMs } = this.profile;
    const skewMs = maxSkewMs === undefined ? undefined : this.#world.integer(-maxSkewMs, maxSkewMs);
    const member: Member = {
      id: `n${this.members.length + 1}`,
      platter,
      founder,
      life: { alive: false, pausedUntil: 0 },
      skewMs,
      contents: this.#contents(NO_HOOKS, skewMs),
      applied: 0,
      raft: undefined,
      gone: false,
      holdsLease: () => member.life.alive && member.raft?.status().holdsLease === true,
      leadership: () => {
        const status = member.raft?.status();
        if (status === undefined) return { term: Infinity, voters: undefined };
        const voters = status.servers.filter(({ voter }) => voter).map(({ id }) => id);
        return { term: status.term, voters: status.role === 'leader' ? voters : undefined };
      },
    };
    this.members.push(member);
    return member;
  }

  server(member: Member, voter = true): Server {
    return { id: member.id, address: `${member.id}:7946`, voter };
  }

  /** Starts its process. */
  start(member: Member): void {
    if (member.life.alive || member.gone) return;
    const world = this.#world;
    const life: Life = { alive: true, pausedUntil: 0 };
    member.life = life;
    member.applied = 0;
    let starting = true;
    const contents = this.#contents(
      {
        applied: (entry) => {
          if (life.alive) this.#applied(member, entry);
        },
        restored: (index) => {
          member.applied = index;
          if (!starting) this.coverage.installs++;
        },
        delay: () => new Promise((resolve) => void world.after(world.between(0, 50), resolve, life, 5)),
        fail: (message) => world.fail(`${member.id}: ${message}`),
      },
      member.skewMs,
    );
    member.contents = contents;
    const founders = this.members.filter(({ founder }) => founder).length;
    const servers = Array.from({ length: Math.max(founders, this.#shape.founders) }, (_, i) => ({
      id: `n${i + 1}`,
      address: `n${i + 1}:7946`,
      voter: true,
    }));
    const setting = {
      world,
      profile: () => this.profile,
      shape: this.#shape,
      life,
      platter: member.platter,
      written: (batch: Parameters<Invariants['written']>[1]) => {
        if (batch.truncateFrom !== undefined) this.coverage.truncations++;
        this.invariants.written(member, batch);
      },
    };
    const { snapshots, ...rest } = { snapshots: simulatedSnapshots(setting), log: simulatedLog(setting) };
    const counted = {
      ...snapshots,
      save: (...args: Parameters<typeof snapshots.save>) => {
        this.coverage.snapshots++;
        return snapshots.save(...args);
      },
    };
    const { electionTimeoutMs, heartbeatMs, preVote, maxAppendEntries, maxAppendBytes } = this.#shape;
    const { maxInflightMessages, maxInflightBytes, maxPartialMessages } = this.#shape;
    const { snapshotEvery, trailing, snapshotChunkBytes, clockError } = this.#shape;
    const options = {
      id: member.id,
      address: this.server(member).address,
      ...rest,
      snapshots: counted,
      clock: world.clock(life, world.between(1 - clockError, 1 + clockError)),
      random: world.random,
      logger: silentLogger,
      transport: this.network.transport(this.server(member).address, life),
      bootstrap: member.founder ? { servers } : ('join' as const),
      electionTimeoutMs,
      heartbeatMs,
      preVote,
      maxAppendEntries,
      maxAppendBytes,
      maxInflightMessages,
      maxInflightBytes,
      maxPartialMessages,
      snapshotEvery,
      trailing,
      snapshotChunkBytes,
      promotionTimeoutMs: 3000,
      onFatal: (error: Error) => this.#died(member, life, error),
    };
    contents.start(options).then(
      (raft) => {
        starting = false;
        if (!life.alive) return;
        member.raft = raft;
        this.onStart(member, life, raft);
        const led = (term: number): void => {
          this.coverage.elections++;
          this.invariants.leads(member.id, term);
          if (this.#leasesHold()) this.invariants.alone(member.id, term);
        };
        const status = raft.status();
        if (status.role === 'leader') led(status.term);
        raft.observe((event) => {
          if (!life.alive) return;
          if (event.kind === 'role') {
            world.trace(event.term);
            if (event.role === 'leader') led(event.term);
          }
        });
      },
      (error: unknown) => {
        if (life.alive) this.#died(member, life, error);
      },
    );
  }

  /** Leases reckon with clocks that run apart by a tenth at most. */
  #leasesHold(): boolean {
    return this.#shape.clockError <= 0.04;
  }

  /** Ends its process at once, and starts it again later unless it is gone for good. */
  crash(member: Member, downMs: number): void {
    if (!member.life.alive) return;
    this.coverage.crashes++;
    member.life.alive = false;
    member.raft = undefined;
    this.onCrash(member);
    crashDisk(this.#world, member.platter);
    this.#world.after(downMs, () => this.start(member));
  }

  /** Ends its process in the middle of what it does next. */
  ambush(member: Member, downMs: number): void {
    this.#world.ambush(member.life, () => {
      this.coverage.ambushes++;
      this.crash(member, downMs);
    });
  }

  leader(): Member | undefined {
    let best: Member | undefined;
    let term = -1;
    for (const member of this.members) {
      const status = member.raft?.status();
      if (status?.role !== 'leader' || status.term < term) continue;
      best = member;
      term = status.term;
    }
    return best;
  }

  running(): readonly Member[] {
    return this.members.filter(({ raft, gone }) => raft !== undefined && !gone);
  }

  #contents(hooks: Hooks, skewMs: number | undefined): Contents {
    if (this.profile.store !== true) return new Registers(hooks);
    return new Stored(this.#world, hooks, this.reference, skewMs);
  }

  #applied(member: Member, entry: Entry): void {
    if (entry.index !== member.applied + 1)
      this.#world.fail(`apply: ${member.id} applies ${entry.index} after ${member.applied}`);
    member.applied = entry.index;
    this.#world.trace(entry.index);
    this.#world.trace(entry.term);
    this.invariants.applies(member, entry);
    if (this.profile.store === true) this.reference.take(entry);
    this.onCommit(entry);
  }

  #died(member: Member, life: Life, error: unknown): void {
    if (!life.alive) return;
    if (!messageOf(error).includes(INJECTED)) {
      const stack = error instanceof Error ? ((error.cause as Error | undefined)?.stack ?? error.stack) : '';
      return this.#world.fail(`${member.id} stopped by itself: ${messageOf(error)}\n${stack}`);
    }
    this.coverage.diskFaults++;
    this.crash(member, this.#world.between(50, 1000));
  }
}
