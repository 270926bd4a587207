import { Etcd3, MaintenanceClient } from 'etcd3';
import type { Clock } from '../../../base/clock.ts';
import { TsswarmError } from '../../../base/errors.ts';
import type { EtcdAccess, StoreMember } from '../../../proto/types/index.ts';
import { storeUrl } from './access.ts';
import { reasonOf } from './failures.ts';
import { identification } from './identification.ts';

const PATIENCE_MS = 3_000;
/** The first version whose API the store is written for. */
const OLDEST = [3, 4] as const;
const LEADERLESS = 'it knows of no leader: a majority of the members must be up';

/** A member of etcd as it describes itself. */
export interface MemberReport extends StoreMember {
  /** Of the etcd cluster that it belongs to; empty: it did not answer. */
  readonly clusterId: string;
}

/** Asks every member how it is; one that does not answer says why in `problem`. */
export function inspectMembers(
  access: EtcdAccess,
  clock: Clock,
  patienceMs = PATIENCE_MS,
): Promise<readonly MemberReport[]> {
  return Promise.all(access.endpoints.map((endpoint) => inspectMember(access, endpoint, clock.now() + patienceMs)));
}

async function inspectMember(access: EtcdAccess, address: string, deadline: number): Promise<MemberReport> {
  // Status is told without a password: a wrong one is another trouble.
  const etcd = new Etcd3({ ...identification({ ...access, endpoints: [address], user: '' }) });
  try {
    const { pool } = etcd as unknown as { readonly pool: ConstructorParameters<typeof MaintenanceClient>[0] };
    const status = await new MaintenanceClient(pool).status({ deadline });
    const { version, leader, header, errors } = status;
    return {
      address,
      version,
      leader: leader !== '0' && leader === header.member_id,
      clusterId: header.cluster_id,
      problem: leader === '0' ? LEADERLESS : errors.join('; '),
    };
  } catch (error) {
    return { address, version: '', leader: false, clusterId: '', problem: reasonOf(error) };
  } finally {
    etcd.close();
  }
}

/**
 * Looks whether a store can be kept there.
 * @throws UNAVAILABLE, NOT_SUPPORTED for a version that is too old, INVALID_INPUT when the members are not one cluster
 */
export function demandUsable(access: EtcdAccess, reports: readonly MemberReport[]): void {
  const action = `opening the store "${storeUrl(access)}"`;
  const old = reports.find(({ version }) => version !== '' && !isRecent(version));
  if (old !== undefined)
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `${action}: "${old.address}" is etcd ${old.version}, expected 3.4 or later`,
      {
        hint: 'upgrade etcd, one member after the other',
      },
    );
  const clusters = new Set(reports.map(({ clusterId }) => clusterId).filter((id) => id !== ''));
  if (clusters.size > 1)
    throw new TsswarmError(
      'INVALID_INPUT',
      `${action}: the members belong to ${clusters.size} different etcd clusters`,
      {
        hint: 'name the members of one cluster: see "etcdctl member list"',
      },
    );
  if (isUsable(reports)) return;
  const reasons = reports.map(({ address, problem }) => `${address}: ${problem}`).join('; ');
  throw new TsswarmError('UNAVAILABLE', `${action}: no member of etcd can be used: ${reasons}`, {
    hint: hintFor(access, reasons),
  });
}

/** Whether reads and writes can come through. What an alarm says does not keep a member from being read. */
export function isUsable(reports: readonly MemberReport[]): boolean {
  return reports.some(({ clusterId, problem }) => clusterId !== '' && problem !== LEADERLESS);
}

/** What to do, by the reasons of all members and whether TLS was spoken; the first that fits. */
const HINTS: readonly (readonly [RegExp, boolean, string])[] = [
  [
    /alert (bad certificate|certificate required|handshake)/i,
    true,
    'etcd asks for a certificate: --store-cert and --store-key',
  ],
  [/altnames/i, true, "write the members as their certificates name them: see what etcd's certificate is for"],
  [/certificate/i, true, "name who signed etcd's certificate: --store-cacert <file>"],
  [/TLS|wrong version number/i, true, 'if this etcd does not speak TLS, begin the URL with etcd://'],
  [/Failed to connect|dropped|reset|protocol/i, false, 'if this etcd speaks TLS, begin the URL with etcds://'],
];

function hintFor({ tls }: EtcdAccess, reasons: string): string {
  const found = HINTS.find(([pattern, forTls]) => forTls === tls && pattern.test(reasons));
  return found?.[2] ?? 'start etcd, or check the addresses: its client port (2379) must be open to this machine';
}

function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1]);
}
