import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { TsswarmError, errnoOf, isTsswarmError } from '../../base/errors.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { RunState } from '../launcher/index.ts';
import { readExit, readState, readWarnings } from '../launcher/index.ts';
import type { ExitStatus } from '../types.ts';
import type { ContainerRecord, ContainerStatus } from './record.ts';
import { CREATED } from './record.ts';

const ID = /^[0-9a-f]{64}$/;

/** The files of one container. */
export interface ContainerPaths {
  /** Survives a reboot. */
  readonly stateDir: string;
  /** Gone after a reboot: config.json, what the supervisor writes, its socket. */
  readonly runDir: string;
  readonly hosts: string;
  readonly hostname: string;
  readonly resolvConf: string;
  readonly log: string;
}

/**
 * Containers on disk. A container exists from the moment `container.json` is in place until it is unlinked; everything else
 * in its folder is meaningless without. Files are replaced by rename and not flushed: after a power cut no container
 * runs any more, and one whose record did not make it is garbage.
 */
export class ContainerDisk {
  readonly #stateDir: string;
  readonly #runDir: string;

  /** @param stateDir folder of all containers' state @param runDir folder of all containers' run directories */
  constructor(stateDir: string, runDir: string) {
    this.#stateDir = stateDir;
    this.#runDir = runDir;
    mkdirSync(stateDir, { recursive: true, mode: 0o710 });
    mkdirSync(runDir, { recursive: true, mode: 0o711 });
  }

  paths(id: ContainerId): ContainerPaths {
    const stateDir = join(this.#stateDir, id);
    return {
      stateDir,
      runDir: join(this.#runDir, id),
      hosts: join(stateDir, 'hosts'),
      hostname: join(stateDir, 'hostname'),
      resolvConf: join(stateDir, 'resolv.conf'),
      log: join(stateDir, `${id}-json.log`),
    };
  }

  /** Hands the log with its rotated files to another container: it goes on writing where this one ended. */
  moveLogs(from: ContainerId, to: ContainerId): void {
    const [source, target] = [this.paths(from), this.paths(to)];
    const old = basename(source.log);
    if (!existsSync(source.stateDir)) return;
    for (const name of readdirSync(source.stateDir)) {
      if (!name.startsWith(old)) continue;
      renameSync(join(source.stateDir, name), target.log + name.slice(old.length));
    }
  }

  /** Ids of all folders, of containers and of what is left of some. */
  ids(): readonly ContainerId[] {
    const names = new Set([...readdirSync(this.#stateDir), ...readdirSync(this.#runDir)]);
    return [...names].filter((name) => ID.test(name)) as ContainerId[];
  }

  /** Makes the folders. @throws ALREADY_EXISTS */
  makeFolders(id: ContainerId): void {
    const { stateDir, runDir } = this.paths(id);
    try {
      mkdirSync(stateDir, { mode: 0o710 });
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      throw new TsswarmError('ALREADY_EXISTS', `creating container "${id}": the id is taken`, { cause: error });
    }
    mkdirSync(runDir, { recursive: true, mode: 0o700 });
  }

  /** From now on the container exists. */
  commit(record: ContainerRecord): void {
    replaceFile(join(this.paths(record.id).stateDir, 'container.json'), JSON.stringify(record));
  }

  writeStatus(id: ContainerId, status: ContainerStatus): void {
    replaceFile(join(this.paths(id).stateDir, 'status.json'), JSON.stringify(status));
  }

  /** The container, or undefined when it was never finished (or its record is unreadable after a power cut). */
  read(id: ContainerId): { readonly record: ContainerRecord; readonly status: ContainerStatus } | undefined {
    const { stateDir } = this.paths(id);
    const record = readJson<ContainerRecord>(join(stateDir, 'container.json'));
    if (record?.version !== 1 || record.id !== id) return undefined;
    return { record, status: readJson<ContainerStatus>(join(stateDir, 'status.json')) ?? CREATED };
  }

  /** From now on the container does not exist, although its folders may. */
  uncommit(id: ContainerId): void {
    rmSync(join(this.paths(id).stateDir, 'container.json'), { force: true });
  }

  /** Whether the container exists, or something of one that does not any more. */
  hasFolders(id: ContainerId): boolean {
    return existsSync(this.paths(id).stateDir);
  }

  async removeFolders(id: ContainerId): Promise<void> {
    const { stateDir, runDir } = this.paths(id);
    await Promise.all([rm(runDir, { recursive: true, force: true }), rm(stateDir, { recursive: true, force: true })]);
  }

  /** Notes what a container is about to become. */
  writeChange(id: ContainerId, after: ContainerRecord): void {
    replaceFile(join(this.paths(id).stateDir, 'changing.json'), JSON.stringify(after));
  }

  /** What a container was about to become when the engine ended. */
  readChange(id: ContainerId): ContainerRecord | undefined {
    const record = readJson<ContainerRecord>(join(this.paths(id).stateDir, 'changing.json'));
    return record?.id === id ? record : undefined;
  }

  clearChange(id: ContainerId): void {
    rmSync(join(this.paths(id).stateDir, 'changing.json'), { force: true });
  }

  /** Notes that this unfinished container is taking over what another one owns. */
  writeAdoption(id: ContainerId, from: ContainerId): void {
    replaceFile(join(this.paths(id).stateDir, 'adopting.json'), JSON.stringify({ from }));
  }

  readAdoption(id: ContainerId): ContainerId | undefined {
    return readJson<{ from: ContainerId }>(join(this.paths(id).stateDir, 'adopting.json'))?.from;
  }

  clearAdoption(id: ContainerId): void {
    rmSync(join(this.paths(id).stateDir, 'adopting.json'), { force: true });
  }

  /** Clears what an earlier run left, and writes the configuration for the next. */
  prepareRun(id: ContainerId, config: string): void {
    const { runDir } = this.paths(id);
    mkdirSync(runDir, { recursive: true, mode: 0o700 });
    for (const name of ['exit.json', 'state.json', 'control.sock', 'warnings'])
      rmSync(join(runDir, name), { force: true });
    writeFileSync(join(runDir, 'config.json'), config, { mode: 0o600 });
  }

  /** The processes of the last run, as the supervisor has noted them. */
  readRun(id: ContainerId): RunState | undefined {
    return unlessCorrupt(() => readState(this.paths(id).runDir));
  }

  /** How the last run ended, as the supervisor has noted it. */
  readExit(id: ContainerId): ExitStatus | undefined {
    const exit = unlessCorrupt(() => readExit(this.paths(id).runDir));
    if (exit === undefined) return undefined;
    const { signal: _, ...status } = exit;
    return status;
  }

  /** What the launcher could not do and went on without. */
  readWarnings(id: ContainerId): readonly string[] {
    return readWarnings(this.paths(id).runDir);
  }
}

/** A file of the supervisor's that cannot be read tells as much as one that is not there: the run is lost. */
function unlessCorrupt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isTsswarmError(error, 'CORRUPT')) return undefined;
    throw error;
  }
}

function replaceFile(path: string, text: string): void {
  try {
    writeFileSync(`${path}.new`, text, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOSPC') throw error;
    throw new TsswarmError('DISK_FULL', `writing "${path}": no space is left on the device`, { cause: error });
  }
}

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}
