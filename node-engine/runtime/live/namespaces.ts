import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
import type { BindMount } from '../../../proto/types/index.ts';
import { bindSources, ensureBindSources } from '../bind-sources.ts';
import { writeNameFiles } from '../creation.ts';
import { cleanTarget, tmpfsOptions } from '../mounts.ts';
import type { ContainerChange, ContainerParts } from '../parts.ts';
import type { ContainerChangeError } from '../../native/addon.ts';
import type { ContainerRecord } from '../record.ts';
import { resolveSysctls } from '../sysctls.ts';
import type { MountStep } from './mounts.ts';
import { planMounts } from './mounts.ts';

const RDONLY = 1;
const NOSUID_NODEV_NOEXEC = 2 | 4 | 8;
/** mount(2) propagation types. */
const PROPAGATIONS: Readonly<Record<string, number>> = { private: 1 << 18, slave: 1 << 19, shared: 1 << 20 };

type Parts = Pick<ContainerParts, 'calls' | 'disk' | 'volumes' | 'secrets'>;

/** Attaches, detaches and changes mounts of a running container. @throws MOUNT_FAILED, NOT_SUPPORTED, BIND_SOURCE_MISSING */
export async function changeMounts(
  parts: Parts,
  pid: number,
  wanted: ContainerRecord,
  before: ContainerRecord,
): Promise<void> {
  const steps = planMounts(before, wanted);
  if (steps.length === 0) return;
  const attached = new Set(steps.filter(({ action }) => action === 'attach').map(({ target }) => target));
  const isAttached = ({ target }: { readonly target: string }): boolean => attached.has(cleanTarget(target));
  const binds = wanted.spec.mounts.filter((mount): mount is BindMount => mount.type === 'bind' && isAttached(mount));
  ensureBindSources(wanted.name, binds);
  if (pid !== 0) await takeMountSteps(parts, pid, wanted, steps);
}

/** Takes the steps in a container that runs; what is attached comes from the record. @throws MOUNT_FAILED */
export async function takeMountSteps(
  parts: Parts,
  pid: number,
  wanted: ContainerRecord,
  steps: readonly MountStep[],
): Promise<void> {
  const attached = new Set(steps.filter(({ action }) => action === 'attach').map(({ target }) => target));
  const isAttached = ({ target }: { readonly target: string }): boolean => attached.has(cleanTarget(target));
  const sources = await bindSources(wanted, parts.disk.paths(wanted.id), parts.volumes, parts.secrets, isAttached);
  const bound = new Map(sources.binds.map((bind) => [cleanTarget(bind.target), bind]));
  const change = ({ action, target, sizeBytes }: MountStep): ContainerChange => {
    const none = { target, value: '' };
    if (action === 'detach') return { kind: 'detach', ...none };
    if (action === 'protect') return { kind: 'attributes', ...none, set: RDONLY };
    if (action === 'unprotect') return { kind: 'attributes', ...none, clear: RDONLY };
    if (action === 'resize') return { kind: 'resize', target, value: sizeBytes === 0 ? '50%' : String(sizeBytes) };
    const bind = bound.get(target);
    if (bind !== undefined) {
      const word = bind.propagation === '' ? 'rprivate' : bind.propagation;
      const propagation = PROPAGATIONS[word.replace(/^r(?=private|slave|shared)/, '')] ?? 0;
      const set = (bind.readOnly ? RDONLY : 0) | (bind.options.includes('noexec') ? NOSUID_NODEV_NOEXEC : 0);
      return { kind: 'bind', target, value: bind.source, set, propagation, recursive: word.startsWith('r') };
    }
    const tmpfs = wanted.spec.mounts.find((mount) => mount.type === 'tmpfs' && cleanTarget(mount.target) === target);
    if (tmpfs?.type !== 'tmpfs') throw new Error(`there is no mount at "${target}"`);
    const set = NOSUID_NODEV_NOEXEC | (tmpfs.readOnly ? RDONLY : 0);
    return { kind: 'tmpfs', target, value: tmpfsOptions(tmpfs).join(','), set };
  };
  try {
    await inside(parts, pid, wanted.name, steps.map(change), 'MOUNT_FAILED');
  } finally {
    sources.release();
  }
}

/** The size of /dev/shm. @throws MOUNT_FAILED when more of it is in use */
export async function resizeShm({ calls }: Parts, pid: number, bytes: number, name: string): Promise<void> {
  await inside({ calls }, pid, name, [{ kind: 'resize', target: '/dev/shm', value: String(bytes) }], 'MOUNT_FAILED');
}

/**
 * Sets the sysctls of the container's namespaces. One that is not asked for any more would have to be what it was before, which nobody
 * knows: that is refused before anything is changed.
 */
export async function changeSysctls(
  { calls }: Parts,
  pid: number,
  wanted: ContainerRecord,
  before: ContainerRecord,
): Promise<void> {
  const of = ({ spec, sandbox }: ContainerRecord) =>
    resolveSysctls(spec.sysctls, '', { privateNetwork: sandbox.mode !== 'host', privateIpc: spec.ipcMode !== 'host' });
  const [old, fresh] = [of(before), of(wanted)];
  const changes = Object.entries(fresh)
    .filter(([key, value]) => old[key] !== value)
    .map(([key, value]): ContainerChange => ({ kind: 'sysctl', target: sysctlPath(key), value }));
  try {
    await inside({ calls }, pid, wanted.name, changes, 'RUNTIME_FAILED');
  } catch (error) {
    const { change, before: values = [] } = (error as Error).cause as Partial<ContainerChangeError>;
    const taken = changes.findIndex(({ target }) => target === change?.target);
    const back = changes
      .slice(0, Math.max(taken, 0))
      .map((one, index) => ({ ...one, value: values[index] ?? one.value }));
    await inside({ calls }, pid, wanted.name, back, 'RUNTIME_FAILED');
    throw error;
  }
}

/** "net.ipv4.ip_forward" and "net/ipv4/conf/eth0.5/forwarding" are both allowed (sysctl(8)). */
export const sysctlPath = (key: string): string => (key.includes('/') ? key : key.replaceAll('.', '/'));

/** Host and domain name, and the files that tell them and the names of others. */
export async function changeNames(
  { calls, disk }: Parts,
  pid: number,
  wanted: ContainerRecord,
  before: ContainerRecord,
): Promise<void> {
  writeNameFiles(disk.paths(wanted.id), wanted, writeInPlace);
  const changes: ContainerChange[] = [];
  if (wanted.hostname !== before.hostname) changes.push({ kind: 'hostname', target: '', value: wanted.hostname });
  const { domainname } = wanted.spec;
  if (domainname !== before.spec.domainname) changes.push({ kind: 'domainname', target: '', value: domainname });
  await inside({ calls }, pid, wanted.name, changes, 'RUNTIME_FAILED');
}

/** The file is bound into the container: one that took its place would not be seen there. */
export function writeInPlace(path: string, text: string): void {
  const bytes = Buffer.from(text);
  const file = openSync(path, 'r+');
  try {
    writeSync(file, bytes, 0, bytes.length, 0);
    ftruncateSync(file, bytes.length);
  } finally {
    closeSync(file);
  }
}

/** Changes a running container from inside. @throws the code, naming what failed */
export async function inside(
  { calls }: Pick<ContainerParts, 'calls'>,
  pid: number,
  name: string,
  changes: readonly ContainerChange[],
  code: 'MOUNT_FAILED' | 'RUNTIME_FAILED',
): Promise<void> {
  if (changes.length === 0 || pid === 0) return;
  try {
    await calls.changeContainer(pid, changes);
  } catch (cause) {
    const { change } = cause as { readonly change?: ContainerChange };
    const what = change === undefined ? '' : ` ${change.kind} "${change.target}"`;
    throw new TsswarmError(code, `changing${what} of the running container "${name}": ${messageOf(cause)}`, { cause });
  }
}
