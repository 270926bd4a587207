import { TsswarmError } from '../../base/errors.ts';

/** Sysctls that belong to the ipc namespace; ipc_namespaces(7). */
const IPC = new Set([
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
]);

export interface SysctlScope {
  readonly privateNetwork: boolean;
  readonly privateIpc: boolean;
}

/**
 * The sysctls of a container: Docker's two defaults for a private network (any user may bind low ports and ping), the
 * domain name, and the user's. Only those that a namespace of the container holds are let through: any other would
 * change the node.
 * @throws INVALID_INPUT for one that is not namespaced or whose namespace is the node's
 */
export function resolveSysctls(
  wanted: Readonly<Record<string, string>>,
  domainname: string,
  scope: SysctlScope,
): Readonly<Record<string, string>> {
  for (const name of Object.keys(wanted)) checkSysctl(name, scope);
  return {
    ...(scope.privateNetwork
      ? { 'net.ipv4.ip_unprivileged_port_start': '0', 'net.ipv4.ping_group_range': '0 2147483647' }
      : {}),
    ...(domainname === '' ? {} : { 'kernel.domainname': domainname }),
    ...wanted,
  };
}

function checkSysctl(name: string, scope: SysctlScope): void {
  const refuse = (reason: string): never => {
    throw new TsswarmError('INVALID_INPUT', `setting sysctl "${name}": ${reason}`, {
      hint: 'allowed are net.*, kernel.msg*, kernel.shm*, kernel.sem and fs.mqueue.*; set others on the node itself',
    });
  };
  if (/[^a-zA-Z0-9._/-]/.test(name) || name.split(/[./]/).some((part) => part === '')) refuse('malformed name');
  if (name.startsWith('net.')) {
    if (!scope.privateNetwork) refuse("the container shares the node's network, expected a network of its own");
  } else if (IPC.has(name) || name.startsWith('fs.mqueue.')) {
    if (!scope.privateIpc) refuse("the container shares the node's ipc namespace, expected a private one");
  } else {
    refuse('it belongs to the whole node, not to a namespace');
  }
}
