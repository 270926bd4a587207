import type { ContainerId } from '../../base/ids.ts';
import type { ContainerSpec, Labels, LogConfig, ResourceLimits } from '../../proto/types/index.ts';
import type {
  ContainerInfo,
  ContainerState,
  ExitStatus,
  ImageConfig,
  ResolvedHealthCheck,
  SandboxRequest,
} from '../types.ts';
import type { ProcessIdentity } from './ports.ts';

/** A volume in a container. */
export interface VolumeUse {
  readonly name: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly subpath: string;
}

/** A secret or config: where it appears. Its content lies on a tmpfs. */
export interface FilePlace {
  readonly target: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  /** Name of its content on the tmpfs; absent: its number in the list. */
  readonly key?: string;
  /** What the main process gets when the content changes while it runs; absent: nothing. */
  readonly signal?: string;
}

/** Where a file of a container is to appear, without its content. */
export const placeOf = ({ target, uid, gid, mode, signal }: Omit<FilePlace, 'key'>): FilePlace => ({
  target,
  uid,
  gid,
  mode,
  ...(signal === undefined ? {} : { signal }),
});

/** Name of a file's content on the tmpfs. */
export const keyOf = ({ key }: FilePlace, index: number): string => key ?? String(index);

/**
 * What a container is, decided at its creation and changed as a whole (live/change.ts). It is all that a start needs: neither the image's name nor
 * its configuration is looked at again.
 */
export interface ContainerRecord {
  readonly version: 1;
  readonly id: ContainerId;
  readonly name: string;
  readonly spec: ContainerSpec;
  readonly imageId: string;
  readonly image: ImageConfig;
  readonly limits: ResourceLimits;
  readonly log: LogConfig;
  readonly sandbox: SandboxRequest;
  readonly labels: Labels;
  readonly hostname: string;
  readonly volumes: readonly VolumeUse[];
  readonly files: readonly FilePlace[];
  readonly argv: readonly string[];
  readonly healthCheck: ResolvedHealthCheck | undefined;
  readonly stopSignal: string;
  readonly createdAt: number;
  /** It does not outlive the node's lease; absent: it does. */
  readonly fenced?: boolean;
  /** In the caller's own count; absent: it did not say. */
  readonly specVersion?: number;
}

/** What has become of it. */
export interface ContainerStatus {
  readonly state: ContainerState;
  /** ms since the epoch; 0 before. */
  readonly startedAt: number;
  readonly finishedAt: number;
  /** Of the main process; pid 0 unless running. */
  readonly process: ProcessIdentity;
  readonly exit: ExitStatus | undefined;
}

export const NO_PROCESS: ProcessIdentity = { pid: 0, startTime: '' };

export const CREATED: ContainerStatus = {
  state: 'created',
  startedAt: 0,
  finishedAt: 0,
  process: NO_PROCESS,
  exit: undefined,
};

/** The status after the end of the main process. */
export function ended(status: ContainerStatus, exit: ExitStatus): ContainerStatus {
  // That it runs is known a moment after it has begun: one that ended in that moment did not end before.
  const startedAt = Math.min(status.startedAt, exit.at);
  return { ...status, state: 'exited', process: NO_PROCESS, startedAt, finishedAt: exit.at, exit };
}

/** The last answer for each record: it is asked for all containers whenever something happens to one. */
const answers = new WeakMap<ContainerRecord, { readonly status: ContainerStatus; readonly info: ContainerInfo }>();

/** What the engine's callers see: the same object as long as nothing has changed. */
export function containerInfo(record: ContainerRecord, status: ContainerStatus): ContainerInfo {
  const known = answers.get(record);
  if (known?.status === status) return known.info;
  const info = describe(record, status);
  answers.set(record, { status, info });
  return info;
}

function describe(record: ContainerRecord, status: ContainerStatus): ContainerInfo {
  return {
    id: record.id,
    name: record.name,
    imageId: record.imageId,
    image: record.spec.image,
    labels: record.labels,
    state: status.state,
    pid: status.process.pid,
    createdAt: record.createdAt,
    startedAt: status.startedAt,
    finishedAt: status.finishedAt,
    exit: status.exit,
    argv: record.argv,
    healthCheck: record.healthCheck,
    stopSignal: record.stopSignal,
    tty: record.spec.tty,
    addresses: record.sandbox.interfaces.map(({ ipv4 }) => ipv4),
    ...(record.specVersion === undefined ? {} : { specVersion: record.specVersion }),
  };
}
