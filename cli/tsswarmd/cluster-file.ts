import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError, errnoOf } from '../../base/errors.ts';

/** What a node keeps of its cluster beside its identity: where it listens, and where managers are. */
export interface ClusterPlace {
  /** Empty: nobody has said yet. */
  readonly listenAddr: string;
  readonly advertiseAddr: string;
  /** Address or interface of the overlay networks' packets. */
  readonly dataPathAddr: string;
  /** How long a key of encrypted networks is used, ms; 0: until somebody has it rotated. Absent: as long as usual. */
  readonly keyIntervalMs?: number;
  /** "host:port" of every manager that it knows. */
  readonly managers: readonly string[];
}

export const CLUSTER_FILE = 'cluster.json';
export const NO_PLACE: ClusterPlace = { listenAddr: '', advertiseAddr: '', dataPathAddr: '', managers: [] };

/** @throws CORRUPT */
export function loadClusterPlace(stateDir: string): ClusterPlace {
  const path = join(stateDir, CLUSTER_FILE);
  try {
    return { ...NO_PLACE, ...(JSON.parse(readFileSync(path, 'utf8')) as Partial<ClusterPlace>) };
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return NO_PLACE;
    throw new TsswarmError('CORRUPT', `reading "${path}": it is not what a node writes there`, {
      cause,
      hint: 'remove the file and start the node with --advertise-addr; a worker has to join anew',
    });
  }
}

/** On disk when it returns; a crash leaves the old file or the new one. */
export function saveClusterPlace(stateDir: string, place: ClusterPlace): void {
  const path = join(stateDir, CLUSTER_FILE);
  const file = openSync(`${path}.new`, 'w', 0o600);
  try {
    writeSync(file, `${JSON.stringify(place)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
}
