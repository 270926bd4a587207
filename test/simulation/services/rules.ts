import { canonical } from '../../../manager/model/spec-change.ts';
import { TASK_STATES } from '../../../proto/types/index.ts';
import type {
  DesiredTaskState,
  Service,
  ServiceDependency,
  Task,
  TaskStatusUpdate,
} from '../../../proto/types/index.ts';
import type { World } from '../world.ts';
import type { ContainerUpdate, SandboxInterface } from '../../../node-engine/types.ts';
import { isFolder } from './kernel.ts';
import type { Box, Kernel, Onlooker } from './kernel.ts';
import type { Change, Truth } from './truth.ts';

const DESIRED: Readonly<Record<DesiredTaskState, number>> = { ready: 0, running: 1, shutdown: 2, remove: 3 };

/** It has ended, as far as anybody knows. Told apart from the product's own function on purpose. */
const isOver = ({ status }: Task): boolean => TASK_STATES[status.state] >= TASK_STATES.complete;
const serves = ({ status }: Task): boolean =>
  status.state === 'running' && (status.health === 'none' || status.health === 'healthy');
/** Its node may have a container of it. */
const isOnNode = (task: Task): boolean => task.nodeId !== '' && !isOver(task);
const isWanted = ({ desiredState }: Task): boolean => desiredState === 'running' || desiredState === 'ready';

/** What must hold of services at every moment, whatever fails; each rule is looked at where it could break. */
export class Rules implements Onlooker {
  readonly #world: World;
  readonly #truth: Truth;
  readonly #kernels: () => readonly Kernel[];
  /** By service: the spec that it was last seen to have reached, where a rollback has to go. */
  readonly #reached = new Map<string, Service['spec']>();
  /** By volume or folder: nodes of which the cluster has been told that its data is there. */
  readonly #homes = new Map<string, Set<string>>();
  /** By service and version: slots in which a living task was replaced. */
  readonly #begun = new Map<string, Set<number>>();
  readonly counts = {
    replacements: 0,
    rollbacks: 0,
    orphans: 0,
    placements: 0,
    volumeStarts: 0,
    fencedStarts: 0,
    starts: 0,
    completions: 0,
    hostPorts: 0,
    releases: 0,
    liveChanges: 0,
    refusals: 0,
  };
  /** Tasks that their nodes have said to be removed. */
  readonly #removed = new Set<string>();
  /** Those that their nodes have said to have been given up, or ended with the lease. */
  readonly #saidOrphaned = new Set<string>();
  /** Tasks as they were before the present commit. */
  #before: ReadonlyMap<string, Task> = new Map();

  constructor(world: World, truth: Truth, kernels: () => readonly Kernel[]) {
    this.#world = world;
    this.#truth = truth;
    this.#kernels = kernels;
  }

  /** What a node says of its tasks: that one is removed, or has ended with the lease, may be taken, and the task forgotten, in one commit. */
  heard(updates: readonly TaskStatusUpdate[]): void {
    for (const { taskId, status } of updates) {
      if (status.state === 'remove') this.#removed.add(taskId);
      if (status.state === 'orphaned') this.#saidOrphaned.add(taskId);
    }
  }

  /** A commit, after it was made. */
  committed(changes: readonly Change[]): void {
    this.#before = new Map(
      changes.flatMap((change) =>
        change.table === 'task' && change.before !== undefined ? [[change.before.id, change.before] as const] : [],
      ),
    );
    for (const change of changes) {
      if (change.table === 'task') this.#task(change.before, change.after);
      if (change.table === 'service') this.#service(change.before, change.after);
      if (change.table === 'volume' && (change.after === undefined || change.after.pendingDelete))
        this.#homes.delete(change.before?.spec.name ?? change.after?.spec.name ?? '');
    }
  }

  #task(before: Task | undefined, after: Task | undefined): void {
    if (after === undefined) return before === undefined ? undefined : this.#forgotten(before);
    if (before !== undefined) {
      const assigned = before.nodeId !== '';
      if (assigned && TASK_STATES[after.status.state] < TASK_STATES[before.status.state])
        this.#fail('task states', `${text(after)} was ${before.status.state} before`);
      if (DESIRED[after.desiredState] < DESIRED[before.desiredState])
        this.#fail('task states', `${text(after)} was to be ${before.desiredState} before`);
      if (assigned && after.nodeId !== before.nodeId) this.#fail('placement', `${text(after)} was on ${before.nodeId}`);
    }
    if (after.changing !== undefined && after.status.refused?.specVersion === after.specVersion)
      this.#fail('live', `${text(after)} did not take its change, and is being changed still`);
    if (after.status.state === 'orphaned' && before?.status.state !== 'orphaned') this.counts.orphans++;
    if (after.nodeId !== '' && (before?.nodeId ?? '') === '') this.#placed(after);
    if (before === undefined) this.#created(after);
    else if (before.specVersion !== after.specVersion) this.#changed(before, after);
    if (before === undefined || before.held) this.#released(before, after);
    if (after.status.state === 'complete' && before?.status.state !== 'complete') this.#completed(after);
    // That it has ended, and what follows from that, may be one commit.
    if (before !== undefined && isWanted(before) && !isWanted(after) && !isOver(after)) this.#takenDown(before);
    if (after.desiredState === 'running' && before?.desiredState !== 'running') this.#mayStart(after);
    // What was removed before it was started has left an empty volume.
    const isMade = after.status.containerId !== '' && after.status.state !== 'remove';
    if (after.nodeId !== '' && isMade && before?.status.containerId === '')
      for (const volume of localVolumesOf(after)) {
        const homes = this.#homes.get(volume) ?? new Set();
        this.#homes.set(volume, homes.add(after.nodeId));
      }
  }

  /** Only what is gone from its node for sure is forgotten, or was given up with its node and is to go. */
  #forgotten(task: Task): void {
    const node = this.#truth.nodes.get(task.nodeId);
    const isGone = task.status.state === 'remove' || this.#removed.has(task.id) || task.nodeId === '';
    // "up" tells what has ended in a slot to go, and decides in its own commit: of such an orphan only a past one, whose slot another has,
    // or nobody shall have any more, or nobody as long as its node takes nothing new.
    const service = this.#truth.services.get(task.serviceId);
    const isPast = (): boolean =>
      (task.boundNode !== undefined && node?.spec.availability !== 'active') ||
      (task.boundNode === undefined && task.slot > (service?.spec.replicas ?? 0)) ||
      this.#truth
        .tasksOf(task.serviceId)
        .some((other) => other.slot === task.slot && !other.oneOff && isWanted(other) && !isOver(other));
    const isGivenUp = task.status.state === 'orphaned' || this.#saidOrphaned.has(task.id);
    const isOrphan = isGivenUp && (task.desiredState === 'remove' || isPast());
    if (!isGone && !isOrphan && node !== undefined) this.#fail('reaper', `${text(task)} was forgotten`);
    if (!isGone) return;
    const kernel = this.#kernels().find(({ nodeId }) => nodeId === task.nodeId);
    if (kernel?.running.some(({ taskId }) => taskId === task.id) === true && node !== undefined)
      this.#fail('reaper', `${text(task)} was forgotten, and its container runs`);
  }

  #placed(task: Task): void {
    this.counts.placements++;
    const node = this.#truth.nodes.get(task.nodeId);
    if (node === undefined) return this.#fail('placement', `${text(task)} is on a node that is not there`);
    if (node.status.state !== 'ready' || node.spec.availability !== 'active')
      this.#fail('placement', `${text(task)} is on a node that is ${node.status.state} and ${node.spec.availability}`);
    if (task.boundNode !== undefined && task.boundNode !== task.nodeId)
      this.#fail('placement', `${text(task)} is for ${task.boundNode} alone`);
    for (const volume of task.boundNode === undefined ? localVolumesOf(task) : []) {
      const homes = this.#homesOf(volume);
      if (homes.length > 0 && !homes.includes(task.nodeId))
        this.#fail('volume', `${text(task)} is not where the data of "${volume}" is: ${homes.join()}`);
    }
    this.#portsOf(task);
    const most = this.#truth.services.get(task.serviceId)?.spec.task.placement?.maxReplicasPerNode ?? 0;
    const there = this.#truth
      .tasksOf(task.serviceId)
      .filter((other) => other.nodeId === task.nodeId && isOnNode(other) && isWanted(other));
    const slots = new Set(there.map(({ slot }) => slot));
    if (most > 0 && slots.size > most) this.#fail('placement', `${slots.size} slots on ${task.nodeId}, not ${most}`);
  }

  /** No two tasks that are on one node have the same port of it; a slot's next one waits for its turn. */
  #portsOf(task: Task): void {
    for (const other of this.#truth.tasks.values()) {
      if (other.id === task.id || other.nodeId !== task.nodeId || !isOnNode(other) || !samePort(other, task)) continue;
      if (task.desiredState === 'ready' && other.serviceId === task.serviceId && other.slot === task.slot) continue;
      this.#fail('host port', `${text(task)} is placed beside\n${text(other)}`);
    }
  }

  /** Nor do two containers that run; those aside whose node was given up. */
  #samePort(kernel: Kernel, box: Box, task: Task): void {
    if (task.ports.length > 0) this.counts.hostPorts++;
    for (const rival of kernel.running) {
      const other = this.#truth.tasks.get(rival.taskId);
      if (rival === box || other === undefined || isOver(other) || !samePort(other, task)) continue;
      this.#fail('host port', `${text(task)} is started beside\n${text(other)}`);
    }
  }

  /** A job's slot completes once for each version and each time that somebody asks for it. */
  #completed(task: Task): void {
    const service = this.#truth.services.get(task.serviceId);
    if (service === undefined || !isJob(service)) return;
    this.counts.completions++;
    for (const other of this.#sameRun(service, task))
      this.#fail('job', `${text(task)} has completed, and so had\n${text(other)}`);
  }

  /** Other tasks of the slot that have done already what `task` is for. */
  #sameRun(service: Service, task: Task): readonly Task[] {
    return this.#truth
      .tasksOf(service.id)
      .filter(
        (other) =>
          other.id !== task.id &&
          other.slot === task.slot &&
          other.specVersion === task.specVersion &&
          other.restartCount === task.restartCount &&
          other.desiredState !== 'remove' &&
          other.status.state === 'complete',
      );
  }

  /** What waited for others, or is the first of its slot, starts when they are as they shall be. */
  #released(before: Task | undefined, after: Task): void {
    const service = this.#truth.services.get(after.serviceId);
    if (service === undefined || after.held || after.oneOff || isOver(after) || !isWanted(after)) return;
    const isFirst = !this.#truth.tasksOf(service.id).some(({ id, slot }) => id !== after.id && slot === after.slot);
    if (before === undefined && !isFirst) return;
    for (const { service: name, condition, required } of service.spec.dependsOn) {
      if (before !== undefined) this.counts.releases++;
      const target = [...this.#truth.services.values()].find(({ spec }) => spec.composeName === name);
      if (!required && (target === undefined || target.pendingDelete || target.stopped)) continue;
      if (target === undefined || target.pendingDelete || target.stopped) {
        this.#fail('dependencies', `${text(after)} may start, and ${name} is stopped or not there`);
        continue;
      }
      const own = this.#truth.tasksOf(target.id).filter(({ desiredState }) => desiredState !== 'remove');
      const slots = isGlobalService(target)
        ? [...new Set(own.map(({ slot }) => slot))]
        : Array.from({ length: target.spec.replicas }, (_, index) => index + 1);
      for (const slot of slots) {
        const isMet = own.some((task) => task.slot === slot && isAs(task, condition, target));
        // Who can do without it does when it has failed.
        if (!isMet && (required || !own.some((task) => task.slot === slot && isOver(task))))
          this.#fail(
            'dependencies',
            `${text(after)} may start, and ${name} is not ${condition} in slot ${slot}\n${this.#show(target)}`,
          );
      }
    }
  }

  /** What goes down with its dependents goes after them. */
  #takenDown(before: Task): void {
    const service = this.#truth.services.get(before.serviceId);
    if (service === undefined || !isOnNode(before) || before.oneOff || !(service.pendingDelete || service.stopped))
      return;
    if (this.#truth.nodes.get(before.nodeId)?.spec.availability !== 'active') return;
    if (this.#truth.nodes.get(before.nodeId)?.status.state !== 'ready') return;
    for (const other of this.#truth.services.values()) {
      if (!(other.pendingDelete || other.stopped)) continue;
      if (!other.spec.dependsOn.some(({ service: name }) => name === service.spec.composeName)) continue;
      const left = this.#truth.tasksOf(other.id).filter(isOnNode);
      if (left.length > 0)
        this.#fail('dependencies', `${text(before)} is told to stop before\n${left.map(text).join('\n')}`);
    }
  }

  /** A task that takes the place of one that lives: the update's parallelism counts. */
  #created(task: Task): void {
    const service = this.#truth.services.get(task.serviceId);
    if (service === undefined || task.oneOff || task.specVersion !== service.specVersion) return;
    const own = this.#truth.tasksOf(service.id).filter(({ oneOff }) => !oneOff);
    if (isJob(service))
      for (const other of this.#sameRun(service, task))
        this.#fail('job', `${text(task)} is made again, and this has completed\n${text(other)}`);
    const slots = Map.groupBy(own, ({ slot }) => slot);
    const others = (slots.get(task.slot) ?? []).filter(({ id }) => id !== task.id);
    const replaces = others.some(
      (other) => other.specVersion !== task.specVersion && isOnNode(other) && isWanted(other),
    );
    if (!replaces || others.some(({ specVersion }) => specVersion === task.specVersion)) return;
    this.counts.replacements++;
    this.#kept(others, service);
    this.#turn(task, service);
  }

  /**
   * A task is of another spec from now on: it is changed where it runs; or was not, as its container refused it or had ended before, and
   * is of its old one again.
   */
  #changed(before: Task, after: Task): void {
    const { changing } = before;
    const isRefused = after.refused?.specVersion === before.specVersion;
    const hasEnded = isOver(after) && after.status.applied?.specVersion !== before.specVersion;
    // That the service goes back to just that may be decided in the commit that takes the refused change back.
    const isTakenBack =
      changing !== undefined &&
      after.changing === undefined &&
      (changing.specVersion === after.specVersion || isRefused || hasEnded);
    if (isTakenBack) {
      if (isRefused) this.counts.refusals++;
      if (canonical(after.spec) !== canonical(changing.spec) || !(isRefused || hasEnded))
        this.#fail(
          'live',
          `${text(after)} is of spec ${after.specVersion} again, and does not say why, or has another`,
        );
      return;
    }
    // The spec of a rollback is the one that it has.
    if (after.changing === undefined && canonical(before.spec) === canonical(after.spec)) return;
    if (after.changing === undefined) this.#fail('live', `${text(after)} has another spec, and nobody changes it`);
    const service = this.#truth.services.get(after.serviceId);
    if (service === undefined) return;
    this.counts.liveChanges++;
    // What a node reports and what is decided on it may be one commit: that it runs is heard, and then it is changed.
    if (after.status.state !== 'running' || !isWanted(before) || isJob(service))
      this.#fail('live', `${text(after)} is changed while it runs, and does not, or is not wanted`);
    // Back at what it has before that was true, and where only its place is spoken of, its node has nothing to do.
    const asksNode = canonical(liveParts(before.spec)) !== canonical(liveParts(after.spec));
    if (!isLiveDifference(before, after) || (asksNode && !this.#canChange(after)))
      this.#fail('live', `${text(after)} is changed, and its node or its container cannot: ${canonical(before.spec)}`);
    if (after.specVersion === service.specVersion) this.#turn(after, service);
  }

  /** What its node can change while it runs is not replaced. */
  #kept(others: readonly Task[], service: Service): void {
    for (const one of others) {
      const old = this.#before.get(one.id) ?? one;
      const node = this.#truth.nodes.get(old.nodeId);
      if (old.status.state !== 'running' || !isWanted(old) || isJob(service)) continue;
      if (node?.status.state !== 'ready' || node.spec.availability !== 'active' || !this.#canChange(old)) continue;
      if (old.refused?.specVersion === service.specVersion || one.refused?.specVersion === service.specVersion)
        continue;
      if (old.specVersion < (service.recreateBelow ?? 0)) continue;
      if (isLiveDifference(old, { ...old, spec: service.spec.task }))
        this.#fail('live', `${text(old)} is replaced, and could have been changed\n${this.#show(service)}`);
    }
  }

  #canChange({ nodeId }: Task): boolean {
    const can = this.#truth.nodes.get(nodeId)?.description.live ?? [];
    return can.includes('limits') && can.includes('settings') && can.includes('networks');
  }

  /** A slot's turn in an update has come. */
  #turn(task: Task, service: Service): void {
    const own = this.#truth.tasksOf(service.id).filter(({ oneOff }) => !oneOff);
    const slots = Map.groupBy(own, ({ slot }) => slot);
    const { parallelism } = rulesOf(service);
    const turn = `${service.id}/${service.specVersion}`;
    const begun = this.#begun.get(turn) ?? new Set();
    this.#begun.set(turn, begun.add(task.slot));
    const failed = new Set(service.updateStatus?.failed);
    const inHand = [...slots].filter(([slot, tasks]) => {
      if (failed.has(slot) || !begun.has(slot)) return false;
      // On a node that is lost nothing goes on.
      if (
        tasks.some(
          ({ boundNode }) => boundNode !== undefined && this.#truth.nodes.get(boundNode)?.status.state !== 'ready',
        )
      )
        return false;
      const fresh = tasks.filter((one) => one.specVersion === service.specVersion && isWanted(one) && !isOver(one));
      if (fresh.length === 0) return false;
      if (fresh.some(({ changing }) => changing !== undefined)) return true;
      return !fresh.some(serves) || tasks.some((one) => one.specVersion !== service.specVersion && isOnNode(one));
    });
    if (parallelism > 0 && inHand.length > parallelism)
      this.#fail(
        'parallelism',
        `${inHand.length} slots of ${service.spec.composeName} in hand, not ${parallelism}\n${this.#show(service)}`,
      );
    if (service.updateStatus?.specVersion === service.specVersion && /paused/.test(service.updateStatus.state))
      this.#fail('update', `${service.spec.composeName} is paused, and a slot is replaced\n${this.#show(service)}`);
  }

  /** Stop-first: nothing is let run before whatever was in its slot has ended. */
  #mayStart(task: Task): void {
    const service = this.#truth.services.get(task.serviceId);
    if (service === undefined || task.oneOff) return;
    const others = this.#truth
      .tasksOf(service.id)
      .filter((other) => other.id !== task.id && !other.oneOff && other.slot === task.slot && isOnNode(other));
    if (others.length > (orderOf(service) === 'start-first' ? 1 : 0))
      this.#fail('slot', `${text(task)} is let run beside\n${others.map(text).join('\n')}`);
  }

  #service(before: Service | undefined, after: Service | undefined): void {
    if (after === undefined) return void this.#reached.delete(before?.id ?? '');
    if (before === undefined) return void this.#reached.set(after.id, after.spec);
    const state = after.updateStatus?.state;
    if (state === before.updateStatus?.state && after.updateStatus?.specVersion === before.updateStatus?.specVersion)
      return;
    if (state === 'completed' || state === 'rollback_completed') {
      this.#reached.set(after.id, after.spec);
      this.#allChanged(after);
    }
    if (state !== 'rollback_started' || before.updateStatus?.state === 'rollback_paused') return;
    this.counts.rollbacks++;
    const wanted = this.#reached.get(after.id);
    if (canonical(wanted?.task) !== canonical(after.spec.task))
      this.#fail('rollback', `${after.spec.composeName} goes back to ${image(after.spec)}, not ${image(wanted)}`);
  }

  /** An update that is over has changed what it was to change, but where that has failed, or on nodes that it does not wait for. */
  #allChanged(service: Service): void {
    for (const task of this.#truth.tasksOf(service.id)) {
      if (task.changing === undefined || task.oneOff || !isWanted(task) || isOver(task)) continue;
      const node = this.#truth.nodes.get(task.nodeId);
      const isAwaited = node?.status.state === 'ready' && node.spec.availability === 'active';
      if (!isAwaited || service.updateStatus?.failed.includes(task.slot) === true) continue;
      this.#fail('update', `${service.spec.composeName} is said to be updated, and ${text(task)} is being changed`);
    }
  }

  started(kernel: Kernel, box: Box): void {
    this.counts.starts++;
    const task = this.#truth.tasks.get(box.taskId);
    if (task === undefined) return;
    if (isOver(task) && task.status.state !== 'orphaned')
      this.#fail('agent', `${text(task)} is started although it has ended`);
    const service = this.#truth.services.get(task.serviceId);
    if (service === undefined) return;
    this.#twice(task, service);
    this.#samePort(kernel, box, task);
    if (!isOver(task)) this.#sameAddress(kernel, box, box.interfaces);
    this.#moved(kernel, box, task);
    this.#fenced(kernel, box, task);
  }

  /** Containers that run in a slot, those aside whose node was given up. */
  #twice(task: Task, service: Service): void {
    const running = new Set(this.#kernels().flatMap((kernel) => kernel.running.map(({ taskId }) => taskId)));
    const inSlot = this.#truth
      .tasksOf(service.id)
      .filter((other) => other.slot === task.slot && !other.oneOff && running.has(other.id) && !isOver(other));
    if (inSlot.length > (orderOf(service) === 'start-first' ? 2 : 1))
      this.#fail('slot', `containers run side by side\n${inSlot.map(text).join('\n')}`);
  }

  /** The data of a volume or folder is where its tasks are. */
  #moved(kernel: Kernel, box: Box, task: Task): void {
    if (task.boundNode !== undefined || box.fenced) return;
    for (const volume of box.volumes) {
      this.counts.volumeStarts++;
      const homes = this.#homesOf(volume);
      if (homes.length > 0 && !homes.includes(kernel.nodeId))
        this.#fail('volume', `${text(task)} starts without the data of "${volume}", which is on ${homes.join()}`);
    }
  }

  /** Two of the same slot never write the same files, also when one of them was given up. */
  #fenced(kernel: Kernel, box: Box, task: Task): void {
    if (!box.fenced) return;
    this.counts.fencedStarts++;
    for (const other of this.#kernels())
      for (const rival of other.running) {
        const theirs = this.#truth.tasks.get(rival.taskId);
        if (rival === box || !rival.volumes.some((volume) => box.volumes.includes(volume))) continue;
        if (theirs === undefined ? other !== kernel : theirs.serviceId === task.serviceId && theirs.slot === task.slot)
          this.#fail(
            'fence',
            `${text(task)} writes on ${kernel.nodeId} what ${rival.taskId.slice(0, 6)} writes on ${other.nodeId}`,
          );
      }
  }

  /** No two containers have the same address, those aside whose node was given up, as long as it may have them. */
  #sameAddress(kernel: Kernel, box: Box, interfaces: readonly SandboxInterface[]): void {
    for (const other of this.#kernels())
      for (const rival of other.running) {
        const task = this.#truth.tasks.get(rival.taskId);
        if (rival === box || task === undefined || isOver(task)) continue;
        const taken = rival.interfaces.find(({ networkId, ipv4 }) =>
          interfaces.some((own) => own.networkId === networkId && own.ipv4 === ipv4),
        );
        if (taken !== undefined)
          this.#fail('address', `${box.info.name} gets ${taken.ipv4} on ${kernel.nodeId}, which has\n${text(task)}`);
      }
  }

  changing(kernel: Kernel, box: Box, { spec, sandbox }: ContainerUpdate): void {
    const task = this.#truth.tasks.get(box.taskId);
    if (task !== undefined && !isOver(task)) this.#sameAddress(kernel, box, sandbox.interfaces);
    if (spec.image !== box.info.image)
      this.#fail('live', `${box.info.name} shall become ${spec.image} while it runs, and is ${box.info.image}`);
  }

  stopping(kernel: Kernel, box: Box): void {
    const task = this.#truth.tasks.get(box.taskId);
    if (task === undefined || !isWanted(task) || isOver(task) || box.wasSick) return;
    if (task.restartCount > task.status.restartCount) return;
    // Nobody has let the node go on: another may run it soon.
    if (box.fenced && kernel.isFencing) return;
    this.#fail('agent', `${kernel.nodeId} stops what is wanted: ${text(task)}`);
  }

  #homesOf(volume: string): readonly string[] {
    // What was made to run, and never did, has left no folder.
    const hasFolder = (id: string): boolean =>
      this.#kernels().some(({ nodeId, copies }) => nodeId === id && copies.has(volume));
    return [...(this.#homes.get(volume) ?? [])].filter(
      (id) => this.#truth.nodes.has(id) && (!isFolder(volume) || hasFolder(id)),
    );
  }

  #show(service: Service): string {
    return this.#truth.tasksOf(service.id).map(text).join('\n');
  }

  #fail(rule: string, message: string): void {
    this.#world.fail(`services, ${rule}: ${message}`);
  }
}

const isJob = ({ spec }: Service): boolean => spec.mode === 'replicated-job' || spec.mode === 'global-job';
const isGlobalService = ({ spec }: Service): boolean => spec.mode === 'global' || spec.mode === 'global-job';

/** Whether two tasks differ in nothing but what a running container can be given. */
const isLiveDifference = (a: Task, b: Task): boolean =>
  canonical(withoutLive(a.spec)) === canonical(withoutLive(b.spec));

const liveParts = ({ limits, networks, container }: Task['spec']): object => ({
  limits,
  networks,
  labels: container.labels,
});

const withoutLive = (spec: Task['spec']): object => ({
  ...spec,
  limits: {},
  networks: [],
  container: { ...spec.container, labels: {} },
  placement: undefined,
});

const samePort = (a: Task, b: Task): boolean =>
  a.ports.some(({ published }) => b.ports.some((port) => port.published === published));

/** Whether a task is as those that depend on its service want it. */
function isAs(task: Task, condition: ServiceDependency['condition'], { specVersion }: Service): boolean {
  const { state, health, exitCode } = task.status;
  if (condition === 'completed') return state === 'complete' && task.specVersion === specVersion;
  if (condition === 'healthy') return state === 'running' && health === 'healthy';
  return state === 'running' || (isOver(task) && exitCode !== undefined);
}

const image = (spec: Service['spec'] | undefined): string => spec?.task.container.image ?? '';

/** The order that a service has for as long as it is there. */
export const orderOf = ({ spec }: Service): string => spec.update.order;

function rulesOf(service: Service): { readonly parallelism: number } {
  const { updateStatus, spec, specVersion } = service;
  const isRollback = updateStatus?.specVersion === specVersion && updateStatus.state.startsWith('rollback');
  return isRollback ? (updateStatus.config ?? { parallelism: 1 }) : spec.update;
}

const localVolumesOf = (task: Task): readonly string[] =>
  task.spec.container.mounts.flatMap((mount) =>
    mount.type === 'bind' ||
    (mount.type === 'volume' && mount.source !== '' && mount.driverOptions['type'] === undefined)
      ? [mount.source]
      : [],
  );

/** A task for people. */
export const text = (task: Task): string =>
  `  ${task.name} ${task.id.slice(0, 6)} on "${task.nodeId}" of spec ${task.specVersion} ${task.spec.container.image} is ${task.status.state} (${task.status.message || task.status.error}), shall be ${task.desiredState}`;
