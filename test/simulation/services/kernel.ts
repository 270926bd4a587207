import { TsswarmError } from '../../../base/errors.ts';
import type { ContainerId, NodeId } from '../../../base/ids.ts';
import type { Labels } from '../../../proto/types/index.ts';
import type {
  ContainerCreate,
  ContainerUpdate,
  ContainerInfo,
  ExitStatus,
  NetworkId,
  NodeLease,
  SandboxInterface,
} from '../../../node-engine/types.ts';
import { TASK_ID_LABEL } from '../../../worker/agent/task/container-request.ts';
import type { Life, World } from '../world.ts';

/** How containers of an image behave, by the word in its name: "app:7-dies". */
export type Nature = 'good' | 'unpullable' | 'unstartable' | 'dies' | 'sick' | 'slow' | 'done';

/** What a change does to containers that run: it is taken, the kernel refuses it, or their processes end of it. */
export type ChangeNature = 'good' | 'refused' | 'dies';

const changeNatureOf = (labels: Labels): ChangeNature => (labels['change']?.split('-')[1] ?? 'good') as ChangeNature;

export const natureOf = (image: string): Nature => (image.split('-')[1] ?? 'good') as Nature;

/** A container as the kernel has it: it lives on when the agent dies. */
export interface Box {
  info: ContainerInfo;
  readonly taskId: string;
  readonly volumes: readonly string[];
  readonly nature: Nature;
  /** Its supervisor kills it when the node's lease is over. */
  readonly fenced: boolean;
  readonly waiters: Set<(exit: ExitStatus) => void>;
  /** What can be changed while it runs. */
  cpus: number;
  labels: Labels;
  interfaces: readonly SandboxInterface[];
  /** Counts its starts: what was meant for an earlier one does nothing. */
  runs: number;
  /** Its health check has failed since it was started. */
  wasSick: boolean;
}

/** Data of a volume on a machine. */
export interface Copy {
  /** Containers that wrote here, in order. */
  readonly writers: string[];
}

/** What the simulation is told of containers. */
export interface Onlooker {
  started(kernel: Kernel, box: Box): void;
  /** One that runs is about to be made something else. */
  changing(kernel: Kernel, box: Box, wanted: ContainerUpdate): void;
  /** Somebody stops or removes a container that runs; it did not end by itself. */
  stopping(kernel: Kernel, box: Box): void;
}

/** Rates of what goes wrong on a machine. */
export interface Troubles {
  /** Probability that making or starting a container fails. */
  readonly engine: number;
  /** Probability that a registry does not answer. */
  readonly registry: number;
}

/** Longer than any stop of a container that heeds its signal. */
const STOP_MS = 400;
const MOMENT_MS = 50;
const SEEN_AFTER_MS = 1000;
const KILL_MS = 200;
/** So long before the end of a lease containers are asked to end. */
const END_MS = 1_000;

/** Whether data is in a folder of the machine, not in a volume. */
export const isFolder = (name: string): boolean => name.startsWith('/');

/** What is on a machine whatever its agent does: containers, images, volumes, bridges. */
export class Kernel {
  readonly nodeId: NodeId;
  readonly boxes = new Map<ContainerId, Box>();
  readonly copies = new Map<string, Copy>();
  readonly images = new Set<string>();
  readonly bridges = new Set<NetworkId>();
  troubles: Troubles = { engine: 0, registry: 0 };
  readonly #world: World;
  readonly #onlooker: Onlooker;
  /** Works that a process has asked for and that are not done yet. */
  readonly #works = new Map<Life, Set<() => void>>();
  #pids = 100;
  readonly #rate: number;
  #bootedAt = 0;
  /** When a lease was renewed last that was near its end, or beyond. */
  endingUntil = -Infinity;
  /** End of the lease in time since the boot; undefined: nothing was set since. */
  #leaseEnd: number | undefined;
  /** Supervisors look once a second whether a lease without end has got one. */
  #seenFrom = 0;

  /** @param rate speed of its clock */
  constructor(world: World, nodeId: NodeId, rate: number, onlooker: Onlooker) {
    this.#world = world;
    this.nodeId = nodeId;
    this.#rate = rate;
    this.#onlooker = onlooker;
  }

  /** The lease as the agent sets it and supervisors see it, whether an agent is there or not. */
  readonly lease: NodeLease = {
    now: () => this.#sinceBoot,
    read: () => this.#leaseEnd,
    set: (end) => {
      if (this.leaseLeftMs <= END_MS) this.endingUntil = this.#world.now;
      if (this.#leaseEnd === Infinity) this.#seenFrom = this.#sinceBoot + SEEN_AFTER_MS;
      this.#leaseEnd = end;
      if (end === Infinity) return;
      const left = Math.max(end, this.#seenFrom) - this.#sinceBoot;
      // A whole microsecond later: what is left of a rounding is not to be overlooked.
      this.#world.after(Math.max(0, left / this.#rate) + 0.001, () => this.#fence());
    },
  };

  /** Whether what is fenced is rightly asked to end; whoever was about it when the lease was renewed has a moment. */
  get isFencing(): boolean {
    return this.leaseLeftMs <= END_MS || this.#world.now - this.endingUntil < MOMENT_MS;
  }

  /** Until the end of the lease, ms. */
  get leaseLeftMs(): number {
    return (this.#leaseEnd ?? Infinity) - this.#sinceBoot;
  }

  get #sinceBoot(): number {
    return (this.#world.now - this.#bootedAt) * this.#rate;
  }

  #fence(): void {
    if (this.leaseLeftMs > 0 || this.#sinceBoot < this.#seenFrom) return;
    for (const box of this.running) {
      if (!box.fenced) continue;
      // A kernel under load takes its time.
      const { runs } = box;
      this.#world.after(this.#world.between(0, KILL_MS), () => {
        if (box.runs === runs && this.leaseLeftMs <= 0) this.end(box, 137, true);
      });
    }
  }

  get running(): readonly Box[] {
    return [...this.boxes.values()].filter(({ info }) => info.state === 'running');
  }

  /** Does something for a process after a while; if that dies meanwhile it may be done or not. */
  work<T>(life: Life, ms: number, effect: () => T): Promise<T> {
    if (!life.alive) return new Promise(() => undefined);
    const works = this.#works.get(life) ?? new Set();
    this.#works.set(life, works);
    return new Promise((resolve, reject) => {
      const act = (): void => {
        if (!works.delete(act)) return;
        try {
          const result = effect();
          this.#world.enter(life, () => resolve(result), 8);
        } catch (error) {
          this.#world.enter(life, () => reject(error as Error), 8);
        }
      };
      works.add(act);
      this.#world.after(ms, act, undefined, 8);
    });
  }

  /** The process died: what it was about is done, or never will be. */
  abandon(life: Life): void {
    for (const act of this.#works.get(life) ?? []) {
      if (this.#world.chance(0.5)) act();
      else this.#works.get(life)?.delete(act);
    }
    this.#works.delete(life);
  }

  /** The power goes: nothing runs any more. */
  lose(): void {
    for (const box of this.running) this.end(box, 255);
    this.bridges.clear();
    this.#bootedAt = this.#world.now;
    this.#leaseEnd = undefined;
    this.#seenFrom = 0;
  }

  create({
    id,
    name,
    spec,
    imageId,
    limits,
    labels,
    adopt,
    specVersion,
    fenced = false,
    sandbox,
  }: ContainerCreate): ContainerInfo {
    const known = this.boxes.get(id);
    if (known !== undefined) throw new TsswarmError('ALREADY_EXISTS', `creating container "${id}": it exists`);
    if (this.#world.chance(this.troubles.engine))
      throw new TsswarmError('RUNTIME_FAILED', `creating container "${name}": the simulation wants it so`);
    const volumes = spec.mounts.flatMap((mount) =>
      mount.type !== 'tmpfs' && mount.source !== '' ? [mount.source] : [],
    );
    for (const volume of volumes) if (!isFolder(volume)) this.#provide(volume);
    const check = spec.healthCheck;
    const info: ContainerInfo = {
      id,
      name,
      imageId,
      image: spec.image,
      labels,
      state: 'created',
      pid: 0,
      createdAt: this.#world.now,
      startedAt: 0,
      finishedAt: 0,
      exit: undefined,
      argv: [],
      healthCheck:
        check === undefined
          ? undefined
          : {
              argv: check.test,
              intervalMs: check.intervalMs ?? 500,
              timeoutMs: check.timeoutMs ?? 1000,
              retries: check.retries ?? 2,
              startPeriodMs: check.startPeriodMs ?? 0,
              startIntervalMs: check.startIntervalMs ?? 500,
            },
      stopSignal: 'SIGTERM',
      tty: false,
      addresses: this.#join(name, sandbox.interfaces),
      ...(specVersion === undefined ? {} : { specVersion }),
    };
    const box: Box = {
      info,
      taskId: labels[TASK_ID_LABEL] ?? '',
      volumes,
      nature: natureOf(spec.image),
      fenced,
      cpus: limits.nanoCpus ?? 0,
      labels: spec.labels,
      interfaces: sandbox.interfaces,
      waiters: new Set(),
      runs: 0,
      wasSick: false,
    };
    this.boxes.set(id, box);
    if (adopt !== '') this.boxes.delete(adopt);
    return info;
  }

  #provide(volume: string): void {
    if (!this.copies.has(volume)) this.copies.set(volume, { writers: [] });
  }

  /** A change of a container, which runs as a rule: it is taken as a whole, or not at all. */
  update(wanted: ContainerUpdate): readonly string[] {
    const { id, name, specVersion = 0, limits, spec, sandbox } = wanted;
    const box = this.#demand(id);
    this.#onlooker.changing(this, box, wanted);
    const runs = box.info.state === 'running';
    if (this.#world.chance(this.troubles.engine))
      throw new TsswarmError('RUNTIME_FAILED', `changing container "${name}": the simulation wants it so`);
    if (runs && changeNatureOf(spec.labels) === 'refused')
      throw new TsswarmError('RUNTIME_FAILED', `changing container "${name}": the kernel refuses`);
    const addresses = this.#join(name, sandbox.interfaces);
    const changed = [
      ...(box.cpus === limits.nanoCpus ? [] : ['limits']),
      ...(addresses.join() === box.info.addresses?.join() ? [] : ['networks']),
    ];
    box.cpus = limits.nanoCpus ?? 0;
    box.labels = spec.labels;
    box.interfaces = sandbox.interfaces;
    box.info = { ...box.info, specVersion, addresses };
    if (runs) this.#endOfChange(box);
    return changed;
  }

  /** @returns the addresses */
  #join(name: string, interfaces: readonly SandboxInterface[]): readonly string[] {
    for (const { networkId } of interfaces)
      if (!this.bridges.has(networkId))
        throw new TsswarmError('NETWORK_FAILED', `joining networks for container "${name}": a bridge is not there`);
    return interfaces.map(({ ipv4 }) => ipv4);
  }

  /** With what it has been given it does not live long. */
  #endOfChange(box: Box): void {
    if (changeNatureOf(box.labels) !== 'dies') return;
    const { runs } = box;
    this.#world.after(this.#world.between(1, 3000), () => {
      if (box.runs === runs && changeNatureOf(box.labels) === 'dies') this.end(box, 137);
    });
  }

  start(id: ContainerId): ContainerInfo {
    const box = this.#demand(id);
    if (box.info.state === 'running') return box.info;
    if (box.nature === 'unstartable')
      throw new TsswarmError('COMMAND_NOT_FOUND', `starting container "${box.info.name}": no such command`);
    if (this.#world.chance(this.troubles.engine))
      throw new TsswarmError('RUNTIME_FAILED', `starting container "${box.info.name}": the simulation wants it so`);
    const run = ++box.runs;
    box.wasSick = false;
    box.info = {
      ...box.info,
      state: 'running',
      pid: this.#pids++,
      startedAt: this.#world.now + run / 1000,
      exit: undefined,
    };
    for (const volume of box.volumes) {
      // Folders are made for who starts.
      this.#provide(volume);
      this.copies.get(volume)?.writers.push(box.taskId);
    }
    this.#onlooker.started(this, box);
    this.#endOfChange(box);
    const livesMs = box.nature === 'dies' ? this.#world.between(1, 3000) : this.#world.between(50, 1000);
    if (box.nature === 'dies' || box.nature === 'done')
      this.#world.after(livesMs, () => {
        if (box.runs === run) this.end(box, box.nature === 'done' ? 0 : 1);
      });
    return box.info;
  }

  /** Ends a container's process. */
  end(box: Box, code: number, leaseOver = false): void {
    if (box.info.state !== 'running') return;
    const exit: ExitStatus = { code, oomKilled: false, at: this.#world.now, ...(leaseOver ? { leaseOver } : {}) };
    box.info = { ...box.info, state: 'exited', pid: 0, finishedAt: this.#world.now, exit };
    const waiters = [...box.waiters];
    box.waiters.clear();
    for (const tell of waiters) tell(exit);
  }

  /** Signals a container, which heeds it after a while, mostly. */
  signal(id: ContainerId): void {
    const box = this.#demand(id);
    if (box.info.state !== 'running') return;
    this.#onlooker.stopping(this, box);
    const { runs } = box;
    if (this.#world.chance(0.1)) return;
    this.#world.after(this.#world.between(1, STOP_MS), () => {
      if (box.runs === runs) this.end(box, 143);
    });
  }

  kill(id: ContainerId): void {
    const box = this.boxes.get(id);
    if (box === undefined) return;
    if (box.info.state === 'running') this.#onlooker.stopping(this, box);
    this.end(box, 137);
  }

  remove(id: ContainerId): void {
    this.kill(id);
    this.boxes.delete(id);
  }

  #demand(id: ContainerId): Box {
    const box = this.boxes.get(id);
    if (box === undefined) throw new TsswarmError('NOT_FOUND', `finding container "${id}": there is none`);
    return box;
  }
}
