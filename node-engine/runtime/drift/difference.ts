import { resolveCapabilities } from '../capabilities.ts';
import type { ContainerRecord } from '../record.ts';
import { parseSecurityOptions } from '../security.ts';

/** Something of a running container that is not what its record says. */
export interface Difference {
  /** "pids.max", "mount /data" */
  readonly field: string;
  readonly expected: string;
  readonly found: string;
  /** Makes it what it shall be; several differences may be mended at once by the same. */
  readonly mend?: () => Promise<void> | void;
  /** Why it is only told; with or without a `mend`. */
  readonly tolerated?: string;
}

/**
 * What the processes of a container may change by themselves. What differs there is theirs, and nobody's mistake: it is not looked at,
 * or only told.
 */
export interface Freedom {
  /** Mounts, host and domain name. */
  readonly mounts: boolean;
  /** Interfaces, addresses, routes. */
  readonly network: boolean;
  /** Hard limits up, the place with the out-of-memory killer forward. */
  readonly limits: boolean;
  /** /proc/sys */
  readonly sysctls: boolean;
  /** Files of root's, such as /etc/hosts. */
  readonly files: boolean;
}

/** capabilities(7): what each of them lets a process do. */
export function freedomOf({ spec, image }: ContainerRecord): Freedom {
  const { bounding } = resolveCapabilities(spec.capAdd, spec.capDrop, spec.privileged);
  const has = (name: string): boolean => bounding.includes(name);
  const { unmaskedPaths } = parseSecurityOptions(spec.securityOpt, spec.privileged);
  const [user = ''] = (spec.user === '' ? image.user : spec.user).split(':');
  return {
    mounts: has('CAP_SYS_ADMIN'),
    network: has('CAP_NET_ADMIN'),
    limits: has('CAP_SYS_RESOURCE'),
    sysctls: unmaskedPaths || has('CAP_SYS_ADMIN'),
    files: user === '' || user === 'root' || Number(user) === 0,
  };
}
