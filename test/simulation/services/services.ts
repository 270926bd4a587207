import type { Clock } from '../../../base/clock.ts';
import type { NodeId } from '../../../base/ids.ts';
import { silentLogger } from '../../../base/log.ts';
import { followLeadership } from '../../../cli/tsswarmd/leadership.ts';
import type { ManagerGroup } from '../../../manager/cluster/group.ts';
import { runUpkeepLoop } from '../../../manager/cluster/upkeep/loop.ts';
import { createControl } from '../../../manager/control/server.ts';
import { Decisions } from '../../../manager/model/stages/decisions.ts';
import { createDispatcher } from '../../../manager/dispatcher/server.ts';
import { lead } from '../../../manager/leader.ts';
import type { Raft } from '../../../manager/raft/types.ts';
import type { UpkeepPolicy } from '../../../manager/raft/upkeep.ts';
import { canonical } from '../../../manager/model/spec-change.ts';
import type { ResumableStore } from '../../../manager/store/types.ts';
import { forwarding } from '../../../proto/rpc/forward.ts';
import { caService, dispatcherService } from '../../../proto/rpc/services.ts';
import type { Node, Task } from '../../../proto/types/index.ts';
import type { Cluster, Coverage, Member } from '../cluster.ts';
import { Stored } from '../stored.ts';
import type { Life, World } from '../world.ts';
import { machineClock } from './clock.ts';
import { CHANGE_LABEL, change, cpusOf, drawWishes, isGlobal, isJob, makeGood, networksOf, projectOf } from './draw.ts';
import type { Wish } from './draw.ts';
import { Identities } from './identities.ts';
import { isFolder } from './kernel.ts';
import { Machine } from './machine.ts';
import { Rules, text } from './rules.ts';
import { watched } from './sessions.ts';
import { Truth } from './truth.ts';
import { Wires } from './wires.ts';

const APPLY = {
  dryRun: false,
  removeOrphans: false,
  forceRecreate: [],
  onlyServices: [],
  noRecreate: false,
  noStart: false,
};
/** How often it is looked whether all has come right, ms. */
const LOOK_EVERY_MS = 100;
/** Share of the seeds that wait for certificates to end. */
const PATIENT = 0.05;
/** In which all have their first certificate. */
const ISSUED_WITHIN_MS = 5_000;

/**
 * Services on workers: everything that the product's leader runs, its dispatcher on every manager, its agents on every worker; the
 * engines are simulated. Operators change the services and the nodes, and machines fail.
 */
export class Services {
  readonly machines: readonly Machine[];
  readonly truth = new Truth();
  readonly identities: Identities;
  readonly rules: Rules;
  readonly #world: World;
  readonly #cluster: Cluster;
  readonly #wires: Wires;
  /** Of each manager's process. */
  readonly #decisions = new WeakMap<Life, Decisions>();
  readonly #wishes: readonly Wish[];
  readonly #heartbeatMs: number;
  readonly #patient: boolean;
  #joined = false;
  #good = false;
  #operating: Promise<void> = Promise.resolve();
  /** At the end the project is taken down, with its volumes. */
  readonly #endsDown: boolean;
  #lookedAt = 0;
  #isSettled = false;

  constructor(world: World, cluster: Cluster, delayMs: number, faultsMs: number) {
    this.#world = world;
    this.#cluster = cluster;
    this.#wires = new Wires(world, cluster.network, delayMs);
    this.rules = new Rules(world, this.truth, () => this.machines.map(({ kernel }) => kernel));
    const { maxSkewMs = 0 } = cluster.profile;
    const skew = (): number => world.integer(-maxSkewMs, maxSkewMs);
    this.#heartbeatMs = world.pick([500, 500, 1000, 1500]);
    this.#patient = world.chance(PATIENT);
    this.#wishes = drawWishes(world);
    // Nodes are told who the managers are; those who are none any more, or not yet, could be asked in vain for minutes.
    const current = (): readonly string[] => {
      const members = cluster.members.filter(({ id }) => this.truth.nodes.get(id)?.spec.role === 'manager');
      return (members.length > 0 ? members : cluster.members).map((member) => cluster.server(member).address);
    };
    this.identities = new Identities(world, this.#wires, current, faultsMs, maxSkewMs);
    this.#endsDown = world.chance(0.15);
    const managers = cluster.members.map((member) => cluster.server(member).address);
    this.machines = Array.from(
      { length: world.integer(2, 4) },
      (_, index) => new Machine(world, this.#wires, `w${index + 1}`, skew(), managers, this.rules),
    );
    for (const machine of this.machines) machine.onStart = (end, clock) => this.identities.keep(machine.id, end, clock);
    cluster.onCommit = (entry) => this.rules.committed(this.truth.take(entry));
    cluster.onCrash = ({ life }) => this.#wires.died(life);
  }

  /** Machines that were not taken out of the cluster. */
  get #staying(): readonly Machine[] {
    return this.machines.filter(({ gone }) => !gone);
  }

  get heartbeatMs(): number {
    return this.#heartbeatMs;
  }

  /** Addresses that links can be cut at, beside those of the managers. */
  get addresses(): readonly string[] {
    return this.machines.map(({ id }) => id);
  }

  /** Nodes that the founders of the cluster write down. */
  nodes(template: Node): readonly Node[] {
    return this.machines.map(({ id, description }) => ({
      ...template,
      id,
      description,
      spec: { ...template.spec, role: 'worker', availability: 'active' },
      status: { state: 'unknown', message: '', address: '' },
    }));
  }

  /** What a manager's process does for the workers, and while it leads. */
  manage(member: Member, life: Life, raft: Raft, group: ManagerGroup, policy: Partial<UpkeepPolicy>): void {
    const { store } = member.contents as Stored;
    if (store === undefined) return;
    const world = this.#world;
    const logger = silentLogger;
    const { random } = world;
    const clock = machineClock(world, life, world.between(0.96, 1.04), member.skewMs ?? 0);
    const end = { address: this.#cluster.server(member).address, life };
    const current = (): readonly string[] => group.status().members.map(({ address }) => address);
    const managers = { current, onChange: (listener: () => void) => group.onChange(listener) };
    const decisions = new Decisions(clock);
    this.#decisions.set(life, decisions);
    const confirmLead = (): Promise<void> => raft.confirmLead();
    const dispatcher = createDispatcher({ store, clock, random, logger, managers, decisions, confirmLead });
    const leadership = followLeadership({
      source: {
        status: () => raft.status(),
        confirmLead,
        observe: (listener) => raft.observe((event) => void (life.alive && listener(event))),
      },
      clock,
      logger,
      identity: () => {
        throw new Error('nobody connects by gRPC here');
      },
      connect: (address) =>
        this.#wires.connect(end, address, { kind: 'node', nodeId: member.id as NodeId, role: 'manager' }),
      lead: async (signal) => {
        signal.addEventListener('abort', () => dispatcher.close(), { once: true });
        await Promise.all([
          lead({ store, clock, random, logger, leases: dispatcher.leases, decisions, group }, signal),
          runUpkeepLoop({ store, raft, clock, logger, policy }, signal),
          dispatcher.takeOver(signal),
        ]);
      },
    });
    const toLeader = (signal: AbortSignal): ReturnType<typeof leadership.leader> => leadership.leader(signal);
    this.#wires.serve(end, {
      ...forwarding(
        dispatcherService,
        watched(dispatcher.handlers, world, (updates) => this.rules.heard(updates)),
        toLeader,
        clock,
      ),
      ...forwarding(caService, this.identities.handlers(store, clock), toLeader, clock, leadership.leading),
    });
    this.identities.keep(member.id as NodeId, end, clock);
  }

  /** Starts the workers; faults and operators until `end`. */
  run(end: number): void {
    for (const machine of this.machines) {
      machine.kernel.troubles = { engine: this.#world.pick([0, 0.02, 0.1]), registry: this.#world.pick([0, 0.3]) };
    }
    void this.#join();
    this.#operating = this.#operate(end);
    void this.#harm(end);
  }

  /** Faults are over: everything is there again, and shall be as the services say. */
  calm(): void {
    for (const machine of this.machines) {
      machine.kernel.troubles = { engine: 0, registry: 0 };
      machine.life.pausedUntil = 0;
      if (this.#joined) machine.start();
    }
    makeGood(this.#world, this.#wishes, this.#staying.length, (name) => {
      const service = [...this.truth.services.values()].find(({ spec }) => spec.composeName === name);
      const update = service?.updateStatus;
      return update === undefined || (update.state === 'completed' && update.failed.length === 0);
    });
    void this.#end();
  }

  /** Whether exactly what the services say runs, and all nodes are there. */
  settled(): boolean {
    if (this.#isSettled || this.#world.now < this.#lookedAt + LOOK_EVERY_MS) return this.#isSettled;
    this.#lookedAt = this.#world.now;
    this.look();
    return (this.#isSettled = this.#good && this.#difference() === '' && this.#identityProblem() === '');
  }

  /** When the run may end, ms: seldom only after certificates that nobody renewed would have ended, as that takes its time. */
  get untilMs(): number {
    return this.#patient && this.identities.areShort ? this.identities.lifetimes.lifeMs + ISSUED_WITHIN_MS : 0;
  }

  /** No node that was there is left with a certificate that has ended. */
  look(): void {
    const store = this.#leader()?.store;
    const left = store === undefined ? undefined : this.identities.expired(store);
    if (left !== undefined) this.#world.fail(`identity: the certificate of ${left} has expired`);
  }

  #identityProblem(): string {
    const store = this.#leader()?.store;
    return store === undefined ? 'nobody leads' : this.identities.difference(store);
  }

  /** What happened, for the coverage. */
  covered(): Partial<Coverage> {
    const { starts, ...rest } = this.rules.counts;
    return { ...rest, ...this.identities.counts, containers: starts };
  }

  describe(): string {
    const tasks = [...this.truth.tasks.values()].map(text).join('\n');
    const nodes = [...this.truth.nodes.values()]
      .map(({ id, status, spec }) => `${id} ${status.state} ${spec.availability} ${status.message}`)
      .join('; ');
    const services = [...this.truth.services.values()]
      .map(
        ({ spec, specVersion, updateStatus }) =>
          `  ${spec.composeName} ${spec.replicas}× ${spec.task.container.image} spec ${specVersion} ${spec.update.order} ${updateStatus?.state} ${updateStatus?.message}`,
      )
      .join('\n');
    const kernels = this.machines
      .map(({ id, life, kernel }) => {
        const boxes = [...kernel.boxes.values()].map(({ taskId, info }) => `${taskId.slice(0, 6)} ${info.state}`);
        return `  ${id}${life.alive ? '' : ' down'}: ${boxes.join(', ')}`;
      })
      .join('\n');
    const going = [...this.truth.networks.values()].map(
      ({ spec, pendingDelete }) => `${spec.name}${pendingDelete ? ' goes' : ''}`,
    );
    return `${going.join()} ${this.#good ? '' : 'the last wish was not taken; '}${this.#difference()} ${this.#identityProblem()}\n${nodes}\n${services}\n${tasks}\n${kernels}`;
  }

  #difference(): string {
    const { nodes, services, tasks } = this.truth;
    for (const { id, gone } of this.machines) {
      if (gone && nodes.has(id)) return `${id} was removed, and is there`;
      if (!gone && nodes.get(id)?.status.state !== 'ready') return `${id} is not ready`;
    }
    if (this.#endsDown) return this.#leftovers();
    const running = new Map(
      this.#staying.flatMap(({ id, kernel }) => kernel.running.map((box) => [box.taskId, id] as const)),
    );
    for (const wish of this.#wishes) {
      const service = [...services.values()].find(({ spec }) => spec.composeName === wish.name);
      if (service === undefined) return `${wish.name} is not there`;
      if (!service.spec.task.container.image.startsWith(`app:${wish.version}-`))
        return `${wish.name} is another version`;
      if (service.spec.task.limits.nanoCpus !== cpusOf(wish)) return `${wish.name} has another limit`;
      if (canonical(service.spec.task.networks) !== canonical(networksOf(wish)))
        return `${wish.name} is on other networks`;
      const state = service.updateStatus?.state ?? 'completed';
      if (state !== 'completed') return `the update of ${wish.name} is ${state}`;
      const wanted = isGlobal(wish) ? this.#staying.length : wish.replicas;
      const own = [...tasks.values()].filter(({ serviceId }) => serviceId === service.id);
      const good = own.filter(
        (task) =>
          task.specVersion === service.specVersion &&
          (isJob(wish)
            ? // What was told to stop and had completed has completed.
              task.desiredState !== 'remove' && task.status.state === 'complete' && !running.has(task.id)
            : task.desiredState === 'running' &&
              task.status.state === 'running' &&
              running.get(task.id) === task.nodeId),
      );
      const slots = new Set(good.map(({ slot }) => slot));
      // A job that was started again has completed more often.
      if ((good.length !== wanted && !isJob(wish)) || slots.size !== wanted)
        return `${wish.name} runs in slots ${[...slots].join()}, ${good.length} containers, not ${wanted}`;
      for (const task of good) {
        const difference = isJob(wish) ? '' : this.#halfDone(task);
        if (difference !== '') return difference;
        running.delete(task.id);
      }
    }
    return running.size === 0 ? '' : `${[...running].join('; ')} run and should not`;
  }

  /** A change that was forgotten, or is there by half: the container is what the task says, and nothing is under way any more. */
  #halfDone(task: Task): string {
    const kernel = this.machines.find(({ id }) => id === task.nodeId)?.kernel;
    const box = kernel?.running.find(({ taskId }) => taskId === task.id);
    const { limits, container, networks } = task.spec;
    if (task.changing !== undefined) return `${task.name} is being changed`;
    if (task.status.applied?.specVersion !== task.specVersion) return `${task.name} does not say what it has`;
    const isSame = box?.cpus === limits.nanoCpus && box?.labels[CHANGE_LABEL] === container.labels[CHANGE_LABEL];
    if (!isSame) return `${task.name} has not got what its task says`;
    const nameOf = (id: string): string => this.truth.networks.get(id)?.spec.name ?? '';
    const places = (all: readonly { readonly networkId: string; readonly ipv4: string }[]): string =>
      all.map(({ networkId, ipv4 }) => `${nameOf(networkId)} ${ipv4}`).join();
    if (places(box?.interfaces ?? []) !== places(task.addresses))
      return `${task.name} has other addresses than its task`;
    const names = task.addresses.map(({ networkId }) => nameOf(networkId));
    return names.join() === networks.map(({ network }) => network).join() ? '' : `${task.name} is on other networks`;
  }

  /** What should have gone with the project. */
  #leftovers(): string {
    const { services, tasks, networks, projects, volumes } = this.truth;
    const all = [services, tasks, networks, projects, volumes].flatMap((table) => [...table.keys()]);
    // What the clients of the other profiles write at the end is theirs.
    const names = all.filter((id) => !/^k\d+$/.test(id));
    if (names.length > 0) return `${names.length} objects are left of the project: ${names.join()}`;
    for (const { id, kernel } of this.#staying) {
      // Folders of machines are nobody's to remove.
      const volumes = [...kernel.copies.keys()].filter((name) => !isFolder(name));
      const kept = [...kernel.boxes.keys(), ...kernel.bridges, ...volumes];
      if (kept.length > 0) return `${id} still has ${kept.join()}`;
    }
    return '';
  }

  #leader(): { readonly leader: Member; readonly store: ResumableStore } | undefined {
    const leader = this.#cluster.leader();
    const store = leader?.contents instanceof Stored ? leader.contents.store : undefined;
    if (leader === undefined || store === undefined || !leader.life.alive) return undefined;
    // Before the cluster is written down nobody asks for anything.
    return store.view((tx) => tx.list('cluster').length) === 0 ? undefined : { leader, store };
  }

  /** Does something at the leader; false when it was refused or nobody answers. */
  #ask(
    act: (
      control: ReturnType<typeof createControl>,
      store: ResumableStore,
      clock: Clock,
      signal: AbortSignal,
    ) => Promise<unknown>,
  ): Promise<boolean> {
    const found = this.#leader();
    if (found === undefined) return Promise.resolve(false);
    const { leader, store } = found;
    const world = this.#world;
    const clock = machineClock(world, leader.life, 1, leader.skewMs ?? 0);
    const decisions = this.#decisions.get(leader.life);
    const control = createControl({ store: decisions?.within(store) ?? store, clock, random: world.random });
    const call = new AbortController();
    const answer = new Promise<boolean>((resolve) => {
      world.enter(leader.life, () => {
        // A process that was held up finds calls that nobody waits for any more: they are not begun.
        if (call.signal.aborted) return;
        act(control, store, clock, call.signal).then(
          () => resolve(true),
          () => resolve(false),
        );
      });
    });
    const silence = world.sleep(2000).then(() => {
      call.abort(new Error('the operator hung up'));
      return false;
    });
    return Promise.race([answer, silence]);
  }

  #apply(): Promise<boolean> {
    const request = { ...APPLY, project: projectOf(this.#wishes) };
    return this.#ask((control, _store, _clock, signal) => control.applyProject(request, signal));
  }

  #down(removeVolumes: boolean): Promise<boolean> {
    const request = { name: 'app', services: [], removeVolumes, graceOverrideMs: -1 };
    return this.#ask((control, _store, _clock, signal) => control.removeProject(request, signal));
  }

  /** As `node rm`: the machine is shut out, whatever is on it. */
  #forget(id: NodeId): Promise<boolean> {
    return this.#ask((_, store) =>
      store.update((tx) => {
        if (tx.get('node', id) !== undefined) tx.remove('node', id);
      }),
    );
  }

  #setAvailability(id: NodeId, availability: Node['spec']['availability']): Promise<boolean> {
    return this.#ask((_, store) =>
      store.update((tx) => {
        const node = tx.get('node', id);
        if (node !== undefined && node.spec.availability !== availability)
          tx.update('node', { ...node, spec: { ...node.spec, availability } });
      }),
    );
  }

  /** Workers come when there is a cluster that has let them in. */
  async #join(): Promise<void> {
    while (this.truth.nodes.size === 0) await this.#world.sleep(50);
    this.#joined = true;
    for (const machine of this.machines) machine.start();
  }

  async #operate(end: number): Promise<void> {
    const world = this.#world;
    while (!(await this.#apply()) && world.now < end) await world.sleep(300);
    while (world.violation === undefined && world.now < end) {
      await world.sleep(world.between(200, 4000));
      if (world.now >= end) return;
      const dice = world.random.next();
      if (dice < 0.55) {
        change(world, this.#wishes);
        if (await this.#apply()) this.#cluster.coverage.rollouts++;
      } else if (dice < 0.58) {
        await this.#ask((_, store, clock) => this.identities.rotate(store, clock));
      } else if (dice < 0.85) {
        const { id } = world.pick(this.machines);
        await this.#setAvailability(id, world.pick(['active', 'active', 'drain', 'pause'] as const));
      } else if (dice < 0.95) {
        const { name } = world.pick(this.#wishes);
        const request = { project: 'app', services: [name], graceOverrideMs: -1 };
        const what = world.pick(['stopServices', 'startServices', 'restartServices'] as const);
        await this.#ask((control, _store, _clock, signal) => control[what](request, signal));
      } else if (dice < 0.98) {
        if (await this.#down(world.chance(0.5))) this.#cluster.coverage.downs++;
      } else if (this.#joined && this.#staying.length > 2) {
        const machine = world.pick(this.#staying);
        machine.takeOut(world.chance(0.5));
        await this.#forget(machine.id);
        this.#cluster.coverage.nodesRemoved++;
      }
    }
  }

  /** The last wish, until it is taken. */
  async #end(): Promise<void> {
    const world = this.#world;
    // What was asked for before is answered, or nobody waits for it any more: an "up" that waits for the end of a "down" would come after it.
    await this.#operating;
    for (const { id, gone } of this.machines) {
      if (gone)
        while (world.violation === undefined && this.truth.nodes.has(id))
          if (!(await this.#forget(id))) await world.sleep(100);
      while (!gone && world.violation === undefined && !(await this.#setAvailability(id, 'active')))
        await world.sleep(100);
    }
    while (world.violation === undefined && !(await (this.#endsDown ? this.#down(true) : this.#apply())))
      await world.sleep(100);
    this.#good = true;
  }

  async #harm(end: number): Promise<void> {
    const world = this.#world;
    const meanMs = world.between(500, 4000);
    while (world.violation === undefined && world.now < end) {
      await world.sleep(world.between(0.2, 1.8) * meanMs);
      if (world.now < end) this.#harmOne(world.pick(this.machines));
    }
  }

  #harmOne(machine: Machine): void {
    const world = this.#world;
    const { network, members } = this.#cluster;
    const downMs = world.between(10, world.pick([200, 2000, 8000]));
    const managers = members.map((member) => this.#cluster.server(member).address);
    switch (
      world.pick([
        'crash',
        'crash',
        'restart',
        'power',
        'pause',
        'cut',
        'cut',
        'some',
        'heal',
        'heal',
        'end',
        'end',
      ] as const)
    ) {
      case 'crash':
        this.#cluster.coverage.agentCrashes++;
        return world.chance(0.5) ? machine.crash(downMs) : world.ambush(machine.life, () => machine.crash(downMs));
      case 'restart':
        return machine.restart(downMs);
      case 'power':
        this.#cluster.coverage.powerLosses++;
        return machine.losePower(downMs);
      case 'pause':
        machine.life.pausedUntil = world.now + downMs;
        return;
      case 'cut':
      case 'some': {
        this.#cluster.coverage.cutOffs++;
        for (const address of managers) if (world.chance(0.8)) network.cut(machine.id, address);
        return void world.after(downMs, () => {
          for (const address of managers) network.join(machine.id, address);
        });
      }
      case 'heal':
        for (const address of managers) network.join(machine.id, address);
        return;
      case 'end': {
        const box = world.pick(machine.kernel.running);
        if (box !== undefined) machine.kernel.end(box, world.pick([0, 1, 137]));
      }
    }
  }
}
