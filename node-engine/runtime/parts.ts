import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Sandboxes } from '../types.ts';
import type { VolumeStore } from '../volume/volumes.ts';
import type { CgroupMount } from './cgroups.ts';
import type { ContainerDisk } from './container-disk.ts';
import type { ContainerCalls, ImageSource, Launcher, LogFiles, SeccompPrograms, WritableLayers } from './ports.ts';
import type { SecretFiles } from './secret-files.ts';

/** What containers are made of. */
export interface ContainerParts {
  readonly disk: ContainerDisk;
  readonly images: ImageSource;
  readonly layers: WritableLayers;
  readonly sandboxes: Sandboxes;
  readonly volumes: VolumeStore;
  readonly secrets: SecretFiles;
  readonly launcher: Launcher;
  readonly seccomp: SeccompPrograms;
  readonly logFiles: LogFiles;
  readonly launcherPath: string;
  /** File with the node's lease. */
  readonly leasePath: string;
  /** "/tsswarm" */
  readonly cgroupParent: string;
  readonly cgroups: readonly CgroupMount[];
  /** See `createMoveAhead`. */
  readonly moveAhead: () => void;
  readonly nodeHostname: string;
  readonly calls: ContainerCalls;
  readonly clock: Clock;
  readonly logger: Logger;
}

export type { ContainerChange } from './ports.ts';
