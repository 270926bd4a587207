import { TsswarmError } from '../../base/errors.ts';
import type { ResourceLimits, Ulimit } from '../../proto/types/index.ts';
import type { OciDevice, OciDeviceRule, OciResources, OciRlimit } from './oci.ts';

/** Length of a CFS period in microseconds; the kernel's default and Docker's. */
const CPU_PERIOD_US = 100_000;
/** The kernel refuses a quota under 1 ms (sched_cfs_bandwidth). */
const SMALLEST_QUOTA_US = 1_000;
/** Docker's floor: under it a container cannot even start. */
const SMALLEST_MEMORY_BYTES = 6 * 1024 * 1024;

/** getrlimit(2), by the names that compose and Docker use. */
const RLIMITS: Readonly<Record<string, string>> = Object.fromEntries(
  [
    'as',
    'core',
    'cpu',
    'data',
    'fsize',
    'locks',
    'memlock',
    'msgqueue',
    'nice',
    'nofile',
    'nproc',
    'rss',
    'rtprio',
    'rttime',
    'sigpending',
    'stack',
  ].map((name) => [name, `RLIMIT_${name.toUpperCase()}`]),
);

/** What every container may do with devices, as Docker and runc: make any node, use the harmless ones and terminals. */
const DEFAULT_DEVICE_RULES: readonly OciDeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...(
    [
      [1, 3], // null
      [1, 5], // zero
      [1, 7], // full
      [1, 8], // random
      [1, 9], // urandom
      [5, 0], // tty
      [5, 1], // console
      [5, 2], // ptmx
    ] as const
  ).map(([major, minor]): OciDeviceRule => ({ allow: true, type: 'c', major, minor, access: 'rwm' })),
  { allow: true, type: 'c', major: 136, access: 'rwm' }, // pts
];

/** A device of the node as it shall appear in the container, with what may be done with it. */
export interface ResolvedDevice extends OciDevice {
  /** Of r, w, m. */
  readonly permissions: string;
}

/**
 * Limits as cgroup settings. Swap is given the way OCI wants it, memory and swap together; absent it is twice the memory
 * (Docker's rule).
 * @throws INVALID_INPUT for limits the kernel would refuse
 */
export function resolveResources(
  limits: ResourceLimits,
  devices: readonly ResolvedDevice[],
  privileged: boolean,
): OciResources {
  const memory = resolveMemory(limits);
  const cpu = resolveCpu(limits);
  return {
    devices: privileged
      ? [{ allow: true, access: 'rwm' }]
      : [
          ...DEFAULT_DEVICE_RULES,
          ...devices
            .filter((device) => device.type !== 'p')
            .map((device): OciDeviceRule => ({
              allow: true,
              type: device.type === 'b' ? 'b' : 'c',
              major: device.major,
              minor: device.minor,
              access: device.permissions,
            })),
        ],
    ...(memory ? { memory } : {}),
    ...(cpu ? { cpu } : {}),
    ...(limits.pids ? { pids: { limit: limits.pids } } : {}),
  };
}

function resolveMemory({ memoryBytes = 0, memorySwapBytes }: ResourceLimits): OciResources['memory'] {
  if (memoryBytes === 0) {
    if (memorySwapBytes !== undefined && memorySwapBytes > 0) {
      throw new TsswarmError(
        'INVALID_INPUT',
        `limiting swap to "${memorySwapBytes}": there is no memory limit, expected one beside it`,
      );
    }
    return undefined;
  }
  if (memoryBytes < SMALLEST_MEMORY_BYTES) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `limiting memory to "${memoryBytes}" bytes: too small, expected at least 6 MiB`,
    );
  }
  const swap = memorySwapBytes === undefined || memorySwapBytes === 0 ? memoryBytes * 2 : memorySwapBytes;
  if (swap !== -1 && swap < memoryBytes) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `limiting memory and swap to "${swap}" bytes: less than the memory limit of ${memoryBytes}`,
    );
  }
  return { limit: memoryBytes, swap };
}

function resolveCpu(limits: ResourceLimits): OciResources['cpu'] {
  const { nanoCpus = 0, cpuShares = 0, cpusetCpus = '' } = limits;
  if (nanoCpus === 0 && cpuShares === 0 && cpusetCpus === '') return undefined;
  if (cpuShares !== 0 && (cpuShares < 2 || cpuShares > 262_144)) {
    throw new TsswarmError('INVALID_INPUT', `setting CPU shares "${cpuShares}": out of range, expected 2 to 262144`);
  }
  if (!/^(\d+(-\d+)?(,\d+(-\d+)?)*)?$/.test(cpusetCpus)) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `setting cpuset "${cpusetCpus}": malformed, expected a list such as "0-3,5"`,
    );
  }
  const quota = Math.max(SMALLEST_QUOTA_US, Math.round((nanoCpus * CPU_PERIOD_US) / 1e9));
  return {
    ...(cpuShares === 0 ? {} : { shares: cpuShares }),
    ...(nanoCpus === 0 ? {} : { quota, period: CPU_PERIOD_US }),
    ...(cpusetCpus === '' ? {} : { cpus: cpusetCpus }),
  };
}

/** Ulimits as rlimits; -1 is unlimited. @throws INVALID_INPUT for an unknown name or a soft limit above the hard one */
export function resolveRlimits(ulimits: readonly Ulimit[]): readonly OciRlimit[] {
  return ulimits.map(({ name, soft, hard }) => {
    const type = RLIMITS[name.toLowerCase()];
    if (type === undefined) {
      throw new TsswarmError(
        'INVALID_INPUT',
        `setting ulimit "${name}": no such limit, expected one of ${Object.keys(RLIMITS).join(', ')}`,
      );
    }
    if (hard !== -1 && (soft === -1 || soft > hard)) {
      throw new TsswarmError('INVALID_INPUT', `setting ulimit "${name}": soft ${soft} is above hard ${hard}`);
    }
    return { type, soft: unlimited(soft), hard: unlimited(hard) };
  });
}

/** RLIM_INFINITY is 2^64-1, which JSON numbers of JavaScript cannot hold; {@link writeSpec} prints it exactly. */
function unlimited(value: number): number {
  return value === -1 ? Infinity : value;
}
