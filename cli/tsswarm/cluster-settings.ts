import type { Command } from 'commander';
import { TsswarmError } from '../../base/errors.ts';
import { parseDurationMs } from '../../compose/normalise/units.ts';
import { checkClusterSettings } from '../../manager/cluster/spec.ts';
import type { ClusterSettings } from '../../manager/cluster/spec.ts';

/** Settings of the cluster as they are typed. */
export interface ClusterSettingOptions {
  readonly certExpiry?: string;
  readonly taskHistoryLimit?: string;
  readonly revisionLimit?: string;
  readonly dispatcherHeartbeat?: string;
  readonly snapshotInterval?: string;
  readonly maxSnapshots?: string;
  readonly removeDeadManagers?: string;
}

/** Adds the options that `init` and `update` share. */
export function addClusterSettings(command: Command): Command {
  return command
    .option('--cert-expiry <duration>', 'lifetime of node certificates, from their next renewal on (2160h)')
    .option('--task-history-limit <number>', 'tasks kept per slot, the live one included (5)')
    .option('--revision-limit <number>', 'revisions kept of each stack and service, for history and rollback (10)')
    .option(
      '--dispatcher-heartbeat <duration>',
      'how often nodes say that they are there; silent for three, down (1.5s)',
    )
    .option('--snapshot-interval <number>', 'log entries between two snapshots of the state (10000)')
    .option('--max-snapshots <number>', 'older snapshots kept beside the newest (1)')
    .option(
      '--remove-dead-managers <duration>',
      'a manager that is silent for so long loses its vote, if three are left (0s: never)',
    );
}

/** What was asked for; nothing where nothing was. @throws INVALID_INPUT that names the option */
export function clusterSettings(options: ClusterSettingOptions): ClusterSettings {
  const given: readonly (readonly [string, keyof ClusterSettings, string | undefined])[] = [
    ['--cert-expiry', 'nodeCertExpiryMs', options.certExpiry],
    ['--task-history-limit', 'taskHistoryLimit', options.taskHistoryLimit],
    ['--revision-limit', 'revisionLimit', options.revisionLimit],
    ['--dispatcher-heartbeat', 'dispatcherHeartbeatMs', options.dispatcherHeartbeat],
    ['--snapshot-interval', 'snapshotInterval', options.snapshotInterval],
    ['--max-snapshots', 'maxSnapshots', options.maxSnapshots],
    ['--remove-dead-managers', 'removeDeadManagersMs', options.removeDeadManagers],
  ];
  const settings = given.flatMap(([option, name, text]) =>
    text === undefined ? [] : [[name, name.endsWith('Ms') ? duration(option, text) : integer(option, text)] as const],
  );
  return checkClusterSettings(Object.fromEntries(settings) as ClusterSettings);
}

/** The settings' options in the words of the command line, for a message. */
export function namesOf(options: Readonly<Record<string, string | undefined>>): readonly string[] {
  return Object.entries(options)
    .filter(([, value]) => value !== undefined)
    .map(([name]) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
}

function duration(option: string, text: string): number {
  const ms = parseDurationMs(text);
  if (ms !== undefined) return Math.round(ms);
  throw new TsswarmError('INVALID_INPUT', `using ${option} "${text}": expected a duration such as 720h or 1m30s`);
}

function integer(option: string, text: string): number {
  if (/^-?\d{1,15}$/.test(text)) return Number(text);
  throw new TsswarmError('INVALID_INPUT', `using ${option} "${text}": expected a whole number`);
}
