import { spanWords } from '../../base/clock-skew.ts';
import { TsswarmError } from '../../base/errors.ts';
import type { Cluster, ClusterSpec, UpdateClusterRequest } from '../../proto/types/index.ts';

/** Settings but for who signs certificates, which is the CA's business. */
export type ClusterSettings = Omit<UpdateClusterRequest, 'externalCas'>;
/** Those that are numbers. */
type SettingName = Exclude<keyof ClusterSettings, 'autoLock' | 'unlockKey'>;

const HOUR_MS = 3600 * 1000;
/** The shortest lifetime of node certificates that can be asked for, as swarmkit; the longest is that of a root. */
export const MIN_CERT_EXPIRY_MS = HOUR_MS;
const MAX_CERT_EXPIRY_MS = 20 * 365 * 24 * HOUR_MS;

/** What holds until the cluster says otherwise. Certificates for 90 days, as swarmkit. */
export const DEFAULT_CERT_EXPIRY_MS = 90 * 24 * HOUR_MS;
export const DEFAULT_HISTORY_LIMIT = 5;
/** Revisions kept of a project, the newest included. */
export const DEFAULT_REVISION_LIMIT = 10;
/** A silent node is noticed within three of them: 5 s, where Swarm's 5 s make it 15 and more. */
export const DEFAULT_HEARTBEAT_MS = 1500;
/** As swarmkit. */
export const DEFAULT_SNAPSHOT_INTERVAL = 10_000;
/** One more than swarmkit: a snapshot that the disk has damaged is not the end. */
export const DEFAULT_MAX_SNAPSHOTS = 1;

/** More than these a second are not asked for: with a thousand nodes they alone would keep a processor busy otherwise. */
const MOST_HEARTBEATS_PER_S = 250;

/**
 * How often nodes say that they are there, ms: what the cluster says, else the default, which is twice as long for each doubling of
 * the nodes beyond those that it is made for. In steps, because each node is told of each.
 * @param nodes how many there are
 */
export function heartbeatMs(cluster: Cluster | undefined, nodes: number): number {
  const asked = cluster?.spec.dispatcherHeartbeatMs;
  if (asked !== undefined) return asked;
  const times = (nodes * 1000) / (DEFAULT_HEARTBEAT_MS * MOST_HEARTBEATS_PER_S);
  return DEFAULT_HEARTBEAT_MS * 2 ** Math.max(0, Math.ceil(Math.log2(times)));
}

interface Limits {
  readonly what: string;
  readonly from: number;
  readonly to: number;
  /** Whether 0, which stands for never, will do too. */
  readonly orZero?: true;
  /** The limits in the user's words. */
  readonly words: string;
}

const LIMITS: Readonly<Record<SettingName, Limits>> = {
  taskHistoryLimit: { what: 'the number of tasks kept per slot', from: 0, to: 10_000, words: '0 to 10000' },
  revisionLimit: { what: 'the number of revisions kept', from: 1, to: 1000, words: '1 to 1000' },
  nodeCertExpiryMs: {
    what: 'the lifetime of node certificates',
    from: MIN_CERT_EXPIRY_MS,
    to: MAX_CERT_EXPIRY_MS,
    words: '1h to 20 years',
  },
  // Below it a node would be down for a pause that every machine makes now and then.
  dispatcherHeartbeatMs: { what: 'the period of heartbeats', from: 500, to: HOUR_MS, words: '500ms to 1h' },
  snapshotInterval: {
    what: 'the number of log entries between snapshots',
    from: 100,
    to: 10_000_000,
    words: '100 to 10000000',
  },
  // Longer than a daemon takes to start again.
  removeDeadManagersMs: {
    what: 'the time after which a silent manager loses its vote',
    from: 10_000,
    to: 365 * 24 * HOUR_MS,
    orZero: true,
    words: '10s to a year, or 0s for never',
  },
  maxSnapshots: { what: 'the number of older snapshots kept', from: 0, to: 100, words: '0 to 100' },
};

/**
 * Checks settings that somebody asks for.
 * @throws INVALID_INPUT that says what is possible
 */
export function checkClusterSettings(change: ClusterSettings): ClusterSettings {
  for (const [name, { what, from, to, orZero, words }] of Object.entries(LIMITS)) {
    const value = change[name as SettingName];
    if (value === undefined || (value === 0 && orZero === true)) continue;
    if (Number.isSafeInteger(value) && value >= from && value <= to) continue;
    const given = name.endsWith('Ms') && Number.isSafeInteger(value) ? spanWords(value) : String(value);
    throw new TsswarmError('INVALID_INPUT', `setting ${what} to ${given}: expected ${words}`, {
      hint: 'see tsswarm update --help',
    });
  }
  return change;
}

/** The settings of a cluster with a change made to them; autolock is not one of them alone. @throws INVALID_INPUT */
export function withSettings(spec: ClusterSpec, change: ClusterSettings): ClusterSpec {
  const asked = checkClusterSettings(change);
  const given = Object.keys(LIMITS)
    .map((name) => [name, asked[name as SettingName]] as const)
    .filter(([, value]) => value !== undefined);
  return { ...spec, ...Object.fromEntries(given) };
}
