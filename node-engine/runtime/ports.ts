/** What the runtime needs of its neighbours, as small interfaces that belong to it (habit 12). */
import type { ContainerId } from '../../base/ids.ts';
import type { ImageConfig, Images, LogQuery, LogRecord, ProcessSession, TerminalSize } from '../types.ts';
import type { ContainerChange, ContainerReading, DeviceRule } from '../native/addon.ts';
import type { OverlayPaths } from './spec.ts';

/** Images on the node, with what the engine alone needs of them. */
export interface ImageSource extends Pick<Images, 'find'> {
  /** Unpacked layers, top-most first. @throws IMAGE_NOT_FOUND */
  layerPaths(imageId: string): readonly string[];
}

/** One writable layer for each container. */
export interface WritableLayers {
  create(id: ContainerId, imageId: string): Promise<OverlayPaths>;
  paths(id: ContainerId, imageId: string): OverlayPaths;
  /** Gives the layer of one container to another that has none. */
  adopt(from: ContainerId, to: ContainerId): Promise<void>;
  /** Not existing is success. */
  remove(id: ContainerId): Promise<void>;
  list(): readonly ContainerId[];
}

/** A process for good: a pid alone is given out again. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat, in decimal digits. */
  readonly startTime: string;
}

/** Where and why the launcher gave up before the command was executed. */
export interface LaunchFailure {
  /** "exec", "cwd", "user", "mount", "cgroup", "sysctl", "rlimit", "namespace", … */
  readonly stage: string;
  /** What the stage was about; may be empty. */
  readonly path: string;
  /** "ENOENT"; empty when no system call failed. */
  readonly errno: string;
  readonly message: string;
}

export interface LaunchRequest {
  /** Directory with config.json. */
  readonly bundle: string;
  readonly runDir: string;
  /** Absent: nothing is logged. */
  readonly log?: { readonly path: string; readonly maxBytes: number; readonly maxFiles: number };
  /** File with the compiled seccomp program; empty: none. */
  readonly seccompPath: string;
  readonly stdin: boolean;
  /** File with the node's lease; absent: the container is not tied to it. */
  readonly leasePath?: string;
}

export interface ExecLaunch {
  readonly runDir: string;
  /** File with the OCI process; not needed any more once the session has begun. */
  readonly processPath: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly seccompPath: string;
  readonly size?: TerminalSize;
}

/** The open connection to a container's supervisor. */
export interface Supervision {
  /** Sends a signal to the container's main process. @throws CONTAINER_NOT_RUNNING */
  kill(signal: number): Promise<void>;
  /** Resolves when the supervisor has ended, or the connection was closed by us; exit.json tells how it ended. */
  readonly closed: Promise<void>;
  close(): void;
}

/** The native launcher. Failures before the command runs are thrown as {@link LaunchError}. */
export interface Launcher {
  run(request: LaunchRequest): Promise<ProcessIdentity>;
  exec(request: ExecLaunch): Promise<ProcessSession>;
  /** Kills every process of the container. */
  killAll(runDir: string): Promise<void>;
  supervise(runDir: string): Supervision;
  /** Has a running container's log rotated at other sizes. @throws NOT_SUPPORTED */
  limitLog(runDir: string, maxBytes: number, maxFiles: number): Promise<void>;
  /** Sends a signal to the main process. @throws CONTAINER_NOT_RUNNING */
  signal(runDir: string, signal: number): Promise<void>;
  /** A second connection, with output from now on and stdin. */
  attach(runDir: string): Promise<ProcessSession>;
}

/** Thrown by a {@link Launcher}. */
export class LaunchError extends Error {
  override readonly name = 'LaunchError';
  readonly failure: LaunchFailure;

  constructor(failure: LaunchFailure) {
    super(failure.message);
    this.failure = failure;
  }
}

/** Compiled seccomp programs, made once and kept. */
export interface SeccompPrograms {
  /**
   * @param profile "default" or the absolute path of a profile in Docker's JSON format
   * @param capabilities those of the container: some rules depend on them
   * @returns path of the program
   * @throws INVALID_INPUT or NOT_SUPPORTED for a profile that cannot be read or honoured
   */
  programPath(profile: string, capabilities: readonly string[]): Promise<string>;
}

/** Reads what the supervisor has logged. */
export interface LogFiles {
  /** @param ended resolves when nothing more will be written; a follower ends then */
  read(path: string, query: LogQuery, ended: Promise<unknown>, signal?: AbortSignal): AsyncIterable<LogRecord>;
  append(path: string, stream: LogRecord['stream'], lines: readonly string[], now: number): Promise<void>;
}

/** The system calls that the runtime needs and Node lacks. */
export interface MountCalls {
  mount(source: string, target: string, fstype: string, flags: number, data: string): void;
  umount(path: string, flags: number): void;
}

/** The same for containers that run. */
export interface ContainerCalls {
  /** @returns what each sysctl was before @throws with the change that failed as `change` */
  changeContainer(pid: number, changes: readonly ContainerChange[]): Promise<readonly string[]>;
  readContainer(pid: number, sysctls: readonly string[]): Promise<ContainerReading>;
  setProcessLimit(pid: number, resource: number, soft: number, hard: number): void;
  deviceProgramTag(rules: readonly DeviceRule[]): string;
  attachedDeviceProgram(cgroup: string): string | undefined;
  attachDeviceProgram(cgroup: string, rules: readonly DeviceRule[]): void;
}

export type { ContainerChange, DeviceRule, ImageConfig, OverlayPaths };
