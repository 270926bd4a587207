import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deferred, KeyedQueue, Semaphore, sleep } from '../../base/async.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import { parseSignal } from '../../base/signals.ts';
import type { BindMount, ContainerSpec } from '../../proto/types/index.ts';
import { isAlive } from '../launcher/index.ts';
import type {
  ContainerCreate,
  ContainerInfo,
  Containers,
  ContainerUpdate,
  ExecRequest,
  ExitStatus,
  FoundDrift,
  LogQuery,
  LogRecord,
  ProcessSession,
} from '../types.ts';
import { atRest } from './at-rest.ts';
import { bindSources, checkBindSources, ensureBindSources } from './bind-sources.ts';
import { destroyCgroup } from './cgroups.ts';
import {
  adoptContainer,
  clearContainer,
  furnishContainer,
  furnishVolumes,
  generateConfiguration,
  planContainer,
  planUpdate,
  undoAdoption,
} from './creation.ts';
import { execProcess } from './exec.ts';
import { launchError } from './launch-errors.ts';
import { checkContainer } from './drift/check.ts';
import { changeContainer, settleChange } from './live/change.ts';
import type { FilePlaces } from './live/limits.ts';
import { processStartTime } from '../native/addon.ts';
import { parseLogConfig } from './log-options.ts';
import type { ContainerParts } from './parts.ts';
import type { Entry } from './run.ts';
import { killRun, nextExit, SIGKILL, signalRun, stopRun } from './run.ts';
import { LaunchError } from './ports.ts';
import type { ContainerRecord, ContainerStatus } from './record.ts';
import { containerInfo, CREATED, ended } from './record.ts';
import { parseSecurityOptions } from './security.ts';
import { printJson } from './spec.ts';

/** Starts at once; more only fight for the two or more CPUs. */
const PARALLEL_STARTS = 16;
/** Before a supervisor that could not be asked (no descriptor was free, say) is asked again. */
const WATCH_AGAIN_MS = 1_000;
/** What Docker reports of a container whose end nobody saw. */
const LOST_EXIT_CODE = 255;

/** The life of containers: create, start, stop, remove, and taking up those that an earlier daemon started. */
export class ContainerService implements Containers {
  readonly #parts: ContainerParts;
  readonly #logger: Logger;
  readonly #entries = new Map<ContainerId, Entry>();
  readonly #queue = new KeyedQueue();
  /** Requests at work: what they need must not be removed meanwhile. */
  readonly #creating = new Set<ContainerCreate>();
  readonly #starting = new Semaphore(PARALLEL_STARTS);
  readonly #controlPlaces: FilePlaces = new Map();
  #execCount = 0;
  #closed = false;

  constructor(parts: ContainerParts) {
    this.#parts = parts;
    this.#logger = parts.logger.child({ component: 'containers' });
  }

  async create(request: ContainerCreate, signal?: AbortSignal): Promise<ContainerInfo> {
    signal?.throwIfAborted();
    // It is started next, as a rule.
    this.#parts.moveAhead();
    const create = (): Promise<ContainerInfo> => this.#queue.run(request.id, () => this.#create(request, signal));
    // The container whose place it takes is not started or removed meanwhile.
    return request.adopt === '' ? create() : this.#queue.run(request.adopt, create);
  }

  async start(id: ContainerId): Promise<ContainerInfo> {
    return this.#queue.run(id, async () => {
      const entry = this.#get(id, 'starting');
      if (entry.status.state !== 'running') await this.#starting.use(() => this.#start(entry));
      return containerInfo(entry.record, entry.status);
    });
  }

  async stop(id: ContainerId, options: { readonly graceMs: number; readonly signal?: string }): Promise<ExitStatus> {
    return this.#queue.run(id, async () => {
      const entry = this.#get(id, 'stopping');
      const number = parseSignal(options.signal ?? entry.record.stopSignal);
      if (entry.status.state === 'running') await stopRun(this.#parts, entry, number, options.graceMs);
      return entry.status.exit ?? { code: 0, oomKilled: false, at: entry.record.createdAt };
    });
  }

  // Not in the queue: a signal must reach a container that is being stopped.
  async kill(id: ContainerId, signal: string): Promise<void> {
    const number = parseSignal(signal);
    const entry = this.#running(id, 'signalling');
    await entry.supervision?.kill(number);
  }

  async remove(id: ContainerId): Promise<void> {
    const running = this.#entries.get(id);
    // Not in the queue: a stop that waits there for its grace to pass ends at once.
    await signalRun(running, SIGKILL);
    await this.#queue.run(id, async () => {
      const entry = this.#entries.get(id);
      if (entry) await this.#remove(entry);
      // Something of it could not be removed last time.
      else if (this.#parts.disk.hasFolders(id)) await clearContainer(this.#parts, id);
    });
  }

  async leaveNetworks(id: ContainerId): Promise<void> {
    await this.#queue.run(id, async () => {
      const entry = this.#entries.get(id);
      if (entry === undefined || entry.status.state === 'running') return;
      await this.#parts.sandboxes.remove(id);
      entry.sandboxReady = false;
    });
  }

  async update(request: ContainerUpdate): Promise<readonly string[]> {
    return this.#queue.run(request.id, async () => {
      const entry = this.#get(request.id, 'changing');
      const { secrets } = this.#parts;
      const files = secrets.stage(request.id, [...request.secrets, ...request.configs], entry.record.files);
      let steps: readonly string[];
      try {
        const after = planUpdate(this.#parts, request, files, entry.record);
        await furnishVolumes(this.#parts, after, entry.record);
        steps = await changeContainer(this.#parts, entry.record, after, entry.status.process.pid);
        entry.record = after;
      } finally {
        secrets.prune(request.id, entry.record.files);
        this.#releaseVolumes(entry.record);
      }
      if (steps.length > 0)
        this.#logger.info('container changed', { id: request.id, name: request.name, steps: steps.join(', ') });
      return steps;
    });
  }

  async checkDrift(request: ContainerUpdate, { repair }: { readonly repair: boolean }): Promise<readonly FoundDrift[]> {
    return this.#queue.run(request.id, async () => {
      const { record, status } = this.#get(request.id, 'looking at');
      const { pid } = status.process;
      if (status.state !== 'running' || record.specVersion !== request.specVersion) return [];
      try {
        const found = await checkContainer(this.#parts, { record, pid, request }, repair, this.#controlPlaces);
        for (const { field, expected, found: now, repaired, reason } of found) {
          const about = { id: record.id, name: record.name, field, expected, found: now, repaired };
          this.#logger.warn('somebody has changed a container by hand', reason === '' ? about : { ...about, reason });
        }
        return found;
      } catch (error) {
        // It ended while it was looked at.
        if (processStartTime(pid)?.toString() !== status.process.startTime) return [];
        throw error;
      }
    });
  }

  inspect(id: ContainerId): ContainerInfo | undefined {
    const entry = this.#entries.get(id);
    return entry && containerInfo(entry.record, entry.status);
  }

  list(): readonly ContainerInfo[] {
    return [...this.#entries.values()].map(({ record, status }) => containerInfo(record, status));
  }

  async wait(id: ContainerId, signal?: AbortSignal): Promise<ExitStatus> {
    signal?.throwIfAborted();
    const entry = this.#get(id, 'waiting for');
    if (entry.status.state === 'exited' && entry.status.exit) return entry.status.exit;
    if (!signal) return entry.exited.promise;
    const aborted = deferred<never>();
    const onAbort = (): void => aborted.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await Promise.race([entry.exited.promise, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async exec(id: ContainerId, request: ExecRequest): Promise<ProcessSession> {
    const entry = this.#running(id, 'executing a command in');
    const { record } = entry;
    const { launcher, disk, seccomp } = this.#parts;
    const process = execProcess(record, request);
    const { runDir } = disk.paths(id);
    const processPath = join(runDir, `exec-${this.#execCount++}.json`);
    const profile = request.privileged ? 'unconfined' : securityOf(record).seccomp;
    const seccompPath =
      profile === 'unconfined' ? '' : await seccomp.programPath(profile, process.capabilities.bounding);
    writeFileSync(processPath, printJson(process), { mode: 0o600 });
    try {
      const session = await launcher.exec({
        runDir,
        processPath,
        tty: request.tty,
        stdin: request.stdin,
        seccompPath,
        ...(request.size ? { size: request.size } : {}),
      });
      session.exit.finally(() => rmSync(processPath, { force: true })).catch(() => undefined);
      return session;
    } catch (error) {
      rmSync(processPath, { force: true });
      throw this.#launchFailure(entry, error, 'executing in', request.argv[0]);
    }
  }

  listening(id: ContainerId): Promise<ReadonlySet<number> | undefined> {
    return this.#parts.sandboxes.listening(id);
  }

  async attach(id: ContainerId): Promise<ProcessSession> {
    this.#running(id, 'attaching to');
    return this.#parts.launcher.attach(this.#parts.disk.paths(id).runDir);
  }

  async *logs(id: ContainerId, query: LogQuery, signal?: AbortSignal): AsyncIterable<LogRecord> {
    const entry = this.#get(id, 'reading the logs of');
    if (parseLogConfig(entry.record.log) === undefined) {
      throw new TsswarmError(
        'NOT_SUPPORTED',
        `reading the logs of container "${entry.record.name}": its log driver is "none"`,
      );
    }
    const done = entry.status.state === 'running' ? entry.exited.promise : Promise.resolve();
    yield* this.#parts.logFiles.read(this.#parts.disk.paths(id).log, query, done, signal);
  }

  async appendLog(id: ContainerId, stream: LogRecord['stream'], lines: readonly string[]): Promise<void> {
    const { record } = this.#get(id, 'writing to the log of');
    if (parseLogConfig(record.log) === undefined) return;
    const { disk, logFiles, clock } = this.#parts;
    await logFiles.append(disk.paths(id).log, stream, lines, clock.now());
  }

  // ------------------------------------------------------------------------------------------ for the engine

  /**
   * Works on the files of a container. One that does not run is not started or removed meanwhile.
   * @param work gets the launcher's words for the root, and the container's name
   */
  async withRoot<T>(id: ContainerId, work: (root: readonly string[], name: string) => Promise<T>): Promise<T> {
    const { record, status } = this.#get(id, 'looking into');
    const { runDir } = this.#parts.disk.paths(id);
    const inside = ['--run-dir', runDir];
    if (status.state === 'running') return work(inside, record.name);
    return this.#queue.run(id, async () => {
      const entry = this.#get(id, 'looking into');
      if (entry.status.state === 'running') return work(inside, record.name);
      return atRest(this.#parts, record, (root) => work(root, record.name));
    });
  }

  /** Takes up a container that is on disk: running, ended while nobody looked, or not running. */
  takeUp(record: ContainerRecord, stored: ContainerStatus): void {
    const { disk, volumes } = this.#parts;
    const entry = this.#add(record, stored, false);
    for (const { name } of record.volumes) volumes.attach(name, record.id, record.name);
    const run = disk.readRun(record.id);
    const exit = disk.readExit(record.id);
    if (run && !exit && isAlive(run)) {
      const startedAt = stored.state === 'running' ? stored.startedAt : this.#parts.clock.now();
      const process = { pid: run.pid, startTime: run.startTime };
      entry.status = { ...CREATED, state: 'running', startedAt, process };
      for (const { name } of record.volumes) volumes.noteRunning(name, record.id);
      this.#logger.info('container taken up', { id: record.id, name: record.name, pid: process.pid });
      this.#watch(entry);
    } else if (exit && exit.at !== stored.exit?.at) {
      this.#noteEnd(entry, exit);
    } else if (stored.state === 'running') {
      // The node was switched off, or somebody removed the run directory.
      this.#noteEnd(entry, { code: LOST_EXIT_CODE, oomKilled: false, at: this.#parts.clock.now() });
    }
  }

  /** Finishes changes that were cut short, or takes them back. */
  async settleChanges(): Promise<void> {
    for (const entry of this.#entries.values())
      entry.record = await settleChange(this.#parts, entry.record, entry.status.process.pid);
  }

  /** Whether the container exists (or is being created). */
  has(id: ContainerId): boolean {
    return this.#entries.has(id);
  }

  /** Containers made from an image, for the image store: what they use is not removed. */
  usersOf(imageId: string): readonly string[] {
    const made = [...this.#entries.values()].map(({ record }) => record);
    return [...made, ...this.#creating].filter((one) => one.imageId === imageId).map(({ name }) => name);
  }

  /** Lets go of every container; they run on. */
  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) entry.supervision?.close();
  }

  /** What a container has no more, others may have removed. */
  #releaseVolumes({ id, volumes }: ContainerRecord): void {
    this.#parts.volumes.release(id, new Set(volumes.map(({ name }) => name)));
  }

  // ------------------------------------------------------------------------------------------ creation

  async #create(request: ContainerCreate, signal: AbortSignal | undefined): Promise<ContainerInfo> {
    const { id, name, spec } = request;
    const parts = this.#parts;
    if (this.#entries.has(id))
      throw new TsswarmError('ALREADY_EXISTS', `creating container "${name}": the id is taken`);
    const adopted = request.adopt === '' ? undefined : this.#adoptable(name, request.adopt);
    const record = planContainer(parts, request, adopted);
    this.#creating.add(request);
    try {
      checkBindSources(name, bindsOf(spec));
      await this.#make(request, record, adopted, signal);
    } finally {
      this.#creating.delete(request);
    }
    if (adopted) {
      await this.#remove(this.#get(adopted.id, 'removing'));
      parts.disk.clearAdoption(id);
    }
    this.#logger.info('container created', { id, name, image: spec.image });
    return containerInfo(record, CREATED);
  }

  async #make(
    request: ContainerCreate,
    record: ContainerRecord,
    adopted: ContainerRecord | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const parts = this.#parts;
    parts.disk.makeFolders(record.id);
    try {
      await furnishContainer(parts, request, record, adopted);
      signal?.throwIfAborted();
      if (adopted) await adoptContainer(parts, record, adopted);
      parts.disk.commit(record);
      this.#add(record, CREATED, true);
    } catch (error) {
      await undoAdoption(parts, record.id);
      await clearContainer(parts, record.id);
      throw error;
    }
  }

  #adoptable(name: string, from: ContainerId): ContainerRecord {
    const entry = this.#get(from, `creating container "${name}" in place of`);
    if (entry.status.state === 'running') {
      throw new TsswarmError(
        'IN_USE',
        `creating container "${name}" in place of "${entry.record.name}": that one runs, expected a stopped one`,
      );
    }
    return entry.record;
  }

  // ------------------------------------------------------------------------------------------ running

  async #start(entry: Entry): Promise<void> {
    const { record } = entry;
    const { disk, layers, volumes, secrets, launcher, clock } = this.#parts;
    const { id, name } = record;
    const paths = disk.paths(id);
    if (!secrets.has(id, record.files)) {
      throw new TsswarmError(
        'RUNTIME_FAILED',
        `starting container "${name}": its secrets and configs are gone since the node was restarted`,
        {
          hint: 'create the container anew',
        },
      );
    }
    ensureBindSources(name, bindsOf(record.spec));
    const namespace = await this.#sandbox(entry);
    try {
      const sources = await bindSources(record, paths, volumes, secrets);
      try {
        const config = generateConfiguration(
          this.#parts,
          record,
          layers.paths(id, record.imageId),
          sources.binds,
          namespace,
        );
        disk.prepareRun(id, printJson(config));
        const { seccomp: profile } = securityOf(record);
        const rotation = parseLogConfig(record.log);
        const process = await launcher.run({
          bundle: paths.runDir,
          runDir: paths.runDir,
          ...(rotation ? { log: { path: paths.log, ...rotation } } : {}),
          seccompPath:
            profile === 'unconfined'
              ? ''
              : await this.#parts.seccomp.programPath(profile, config.process.capabilities.bounding),
          stdin: record.spec.openStdin,
          ...(record.fenced === true ? { leasePath: this.#parts.leasePath } : {}),
        });
        if (entry.status.state === 'exited') entry.exited = nextExit();
        entry.status = { ...CREATED, state: 'running', startedAt: clock.now(), process };
      } finally {
        sources.release();
      }
    } catch (error) {
      volumes.noteStopped(id);
      throw this.#launchFailure(entry, error, 'starting', record.argv[0]);
    }
    disk.writeStatus(id, entry.status);
    for (const warning of disk.readWarnings(id))
      this.#logger.warn('container started with less', { id, name, warning });
    this.#logger.info('container started', { id, name, pid: entry.status.process.pid });
    this.#watch(entry);
  }

  /** Path of the container's network namespace, made anew if it is gone; empty: the node's. */
  async #sandbox(entry: Entry): Promise<string> {
    const { id, sandbox } = entry.record;
    const { sandboxes } = this.#parts;
    if (sandbox.mode === 'host') return '';
    const path = entry.sandboxReady ? sandboxes.path(id) : '';
    if (path !== '') return path;
    const made = await sandboxes.create(id, sandbox);
    // An empty path would put the container into the node's own network.
    if (made === '')
      throw new TsswarmError(
        'NETWORK_FAILED',
        `starting container "${entry.record.name}": it has no network namespace`,
      );
    entry.sandboxReady = true;
    return made;
  }

  #launchFailure({ record }: Entry, error: unknown, action: string, command = ''): unknown {
    if (!(error instanceof LaunchError)) return error;
    return launchError(error.failure, { action, container: record.name, image: record.spec.image, command });
  }

  /** Listens to the supervisor; what it has to say last is noted when it ends. */
  #watch(entry: Entry): void {
    const supervision = this.#parts.launcher.supervise(this.#parts.disk.paths(entry.record.id).runDir);
    entry.supervision = supervision;
    supervision.closed
      .then(() => (this.#closed ? undefined : this.#supervisorGone(entry)))
      .catch(async (error: unknown) => {
        this.#logger.error('lost sight of a container', { id: entry.record.id, error: messageOf(error) });
        await sleep(this.#parts.clock, WATCH_AGAIN_MS);
        if (!this.#closed) this.#watch(entry);
      });
  }

  async #supervisorGone(entry: Entry): Promise<void> {
    const { disk, clock, cgroups, cgroupParent } = this.#parts;
    const { id } = entry.record;
    entry.supervision = undefined;
    let exit = disk.readExit(id);
    if (!exit) {
      // Somebody killed the supervisor: nobody reads the container's output any more, it cannot go on.
      this.#logger.warn('supervisor lost, killing its container', { id, name: entry.record.name });
      const gone = await destroyCgroup(cgroups, cgroupParent, id, clock);
      if (!gone) this.#logger.error('cgroup cannot be removed', { id });
      exit = disk.readExit(id) ?? { code: 128 + SIGKILL, oomKilled: false, at: clock.now() };
    }
    this.#noteEnd(entry, exit);
  }

  #noteEnd(entry: Entry, exit: ExitStatus): void {
    const { disk, volumes } = this.#parts;
    const { id, name } = entry.record;
    entry.status = ended(entry.status, exit);
    volumes.noteStopped(id);
    try {
      disk.writeStatus(id, entry.status);
    } catch (error) {
      // exit.json still says it.
      this.#logger.warn('status cannot be written', { id, error: messageOf(error) });
    }
    this.#logger.info('container exited', { id, name, code: exit.code, oomKilled: exit.oomKilled });
    entry.exited.resolve(exit);
  }

  async #remove(entry: Entry): Promise<void> {
    const { id, name } = entry.record;
    if (entry.status.state === 'running') await killRun(this.#parts, entry);
    this.#parts.disk.uncommit(id);
    this.#entries.delete(id);
    entry.exited.reject(new TsswarmError('NOT_FOUND', `waiting for container "${name}": it was removed`));
    await clearContainer(this.#parts, id);
    this.#logger.info('container removed', { id, name });
  }

  #add(record: ContainerRecord, status: ContainerStatus, sandboxReady: boolean): Entry {
    const entry: Entry = { record, status, sandboxReady, supervision: undefined, exited: nextExit() };
    this.#entries.set(record.id, entry);
    return entry;
  }

  #get(id: ContainerId, action: string): Entry {
    const entry = this.#entries.get(id);
    if (entry) return entry;
    throw new TsswarmError('NOT_FOUND', `${action} container "${id.slice(0, 12)}": there is no such container`);
  }

  #running(id: ContainerId, action: string): Entry {
    const entry = this.#get(id, action);
    if (entry.status.state === 'running') return entry;
    throw new TsswarmError(
      'CONTAINER_NOT_RUNNING',
      `${action} container "${entry.record.name}": it is ${entry.status.state}, expected running`,
    );
  }
}

function bindsOf({ mounts }: ContainerSpec): readonly BindMount[] {
  return mounts.filter((mount) => mount.type === 'bind');
}

function securityOf({ spec }: ContainerRecord): ReturnType<typeof parseSecurityOptions> {
  return parseSecurityOptions(spec.securityOpt, spec.privileged);
}
