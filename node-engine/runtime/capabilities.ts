import { TsswarmError } from '../../base/errors.ts';
import type { OciCapabilities } from './oci.ts';

/** Every capability of Linux 6 in the order of include/uapi/linux/capability.h; capabilities(7). */
export const ALL_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
];

/** The fourteen that Docker gives by default. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

/**
 * The capabilities of a container. Drops win over adds, `ALL` stands for every one, a name may lack its "CAP_" and have
 * any case, as with Docker. Inheritable and ambient stay empty (CVE-2022-29162).
 * @throws INVALID_INPUT for a name the kernel does not know
 */
export function resolveCapabilities(
  add: readonly string[],
  drop: readonly string[],
  privileged: boolean,
): OciCapabilities {
  const added = new Set(add.map((name) => normaliseCapability(name, 'cap_add')));
  const dropped = new Set(drop.map((name) => normaliseCapability(name, 'cap_drop')));
  const granted = ALL_CAPABILITIES.filter((name) => {
    if (privileged) return true;
    if (added.has('ALL')) return !dropped.has(name);
    if (dropped.has('ALL')) return added.has(name);
    return !dropped.has(name) && (added.has(name) || DEFAULT_CAPABILITIES.includes(name));
  });
  return { bounding: granted, effective: granted, permitted: granted, inheritable: [], ambient: [] };
}

function normaliseCapability(name: string, key: string): string {
  const upper = name.toUpperCase();
  if (upper === 'ALL') return 'ALL';
  const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  if (!ALL_CAPABILITIES.includes(full)) {
    throw new TsswarmError('INVALID_INPUT', `reading ${key} "${name}": no such capability`, {
      hint: 'capabilities(7) lists the names; "ALL" stands for every one',
    });
  }
  return full;
}
