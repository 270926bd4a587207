import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';

/** Where a node of this machine lives. Several nodes can share a machine: each has its own place. */
export interface NodePlace {
  readonly stateDir: string;
  readonly runDir: string;
  /** Path of its unix socket. */
  readonly socket: string;
  /** The user asked for nothing else: this is the machine's own node. */
  readonly isDefault: boolean;
}

export interface PlaceOptions {
  readonly stateDir?: string | undefined;
  readonly runDir?: string | undefined;
  readonly socket?: string | undefined;
}

export const DEFAULT_STATE_DIR = '/var/lib/tsswarm';
export const DEFAULT_RUN_DIR = '/run/tsswarm';

/** Adds the options that name a place. */
export function addPlaceOptions(command: Command): Command {
  return command
    .option('--socket <path>', 'socket of the node (TSSWARM_SOCKET)')
    .option('--run-dir <dir>', `run directory of the node (TSSWARM_RUN_DIR, ${DEFAULT_RUN_DIR})`)
    .option('--state-dir <dir>', `state directory of the node (TSSWARM_STATE_DIR, ${DEFAULT_STATE_DIR})`);
}

/** Flags over environment over defaults; the socket lies in the run directory unless it is named. */
export function placeOf(options: PlaceOptions, environment: Readonly<Record<string, string | undefined>>): NodePlace {
  const stateDir = resolve(options.stateDir ?? (environment['TSSWARM_STATE_DIR'] || DEFAULT_STATE_DIR));
  const runDir = resolve(options.runDir ?? (environment['TSSWARM_RUN_DIR'] || DEFAULT_RUN_DIR));
  const named = options.socket ?? (environment['TSSWARM_SOCKET'] || undefined);
  return {
    stateDir,
    runDir,
    socket: named === undefined ? join(runDir, 'tsswarm.sock') : resolve(named.replace(/^unix:(\/\/)?/, '')),
    isDefault: stateDir === DEFAULT_STATE_DIR && runDir === DEFAULT_RUN_DIR,
  };
}

/**
 * Tells nodes of one machine apart where only a short name fits: "tsswarm" for the default place. Names the parent cgroup.
 */
export function instanceName(place: Pick<NodePlace, 'stateDir' | 'isDefault'>): string {
  if (place.isDefault) return 'tsswarm';
  return `tsswarm-${createHash('sha256').update(place.stateDir).digest('hex').slice(0, 8)}`;
}
