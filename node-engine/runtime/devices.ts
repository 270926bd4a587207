import { readdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError } from '../../base/errors.ts';
import type { DeviceMapping } from '../../proto/types/index.ts';
import type { ResolvedDevice } from './resources.ts';

/** Entries of the node's /dev that a container has of its own, also a privileged one. */
const OWN = new Set(['pts', 'shm', 'fd', 'mqueue', 'console', 'ptmx', 'stdin', 'stdout', 'stderr', 'core', 'log']);
/** Made by the launcher for every container. */
const STANDARD = new Set(['null', 'zero', 'full', 'random', 'urandom', 'tty']);

/**
 * The devices of a container as they are on the node now. A folder stands for all devices in it; a privileged container
 * gets all of the node's.
 * @throws INVALID_INPUT when a source is missing or no device
 */
export function resolveDevices(mappings: readonly DeviceMapping[], privileged: boolean): readonly ResolvedDevice[] {
  const all = privileged ? devicesBelow('/dev', '/dev', 'rwm', (name) => !OWN.has(name) && !STANDARD.has(name)) : [];
  const byPath = new Map([...all, ...mappings.flatMap(resolveMapping)].map((device) => [device.path, device]));
  return [...byPath.values()];
}

function resolveMapping({ source, target, permissions }: DeviceMapping): readonly ResolvedDevice[] {
  const access = permissions === '' ? 'rwm' : permissions;
  const fail = (what: string): never => {
    throw new TsswarmError('INVALID_INPUT', `adding the device "${source}": ${what}`);
  };
  if (!/^[rwm]{1,3}$/.test(access)) fail(`permissions "${access}" are malformed, expected letters of "rwm"`);
  let path: string;
  try {
    path = realpathSync(source);
  } catch {
    return fail('it does not exist on this node');
  }
  const to = target === '' ? source : target;
  if (statSync(path).isDirectory()) {
    const found = devicesBelow(path, to, access, () => true);
    return found.length > 0 ? found : fail('there is no device in this folder');
  }
  return [device(path, to, access) ?? fail('it is not a device')];
}

function devicesBelow(
  folder: string,
  target: string,
  permissions: string,
  wanted: (name: string) => boolean,
): readonly ResolvedDevice[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter(({ name }) => wanted(name))
    .flatMap((entry) => {
      const [from, to] = [join(folder, entry.name), join(target, entry.name)];
      if (entry.isDirectory()) return devicesBelow(from, to, permissions, () => true);
      return entry.isCharacterDevice() || entry.isBlockDevice() ? (device(from, to, permissions) ?? []) : [];
    });
}

/** The device at a path of the node; undefined: there is none. */
export function device(source: string, path: string, permissions: string): ResolvedDevice | undefined {
  const stat = statSync(source, { throwIfNoEntry: false });
  if (!stat || !(stat.isCharacterDevice() || stat.isBlockDevice())) return undefined;
  return {
    path,
    type: stat.isBlockDevice() ? 'b' : 'c',
    // The numbers as the kernel packs them into st_rdev for user space (makedev(3)), for devices below 2^32.
    major: (stat.rdev >>> 8) & 0xfff,
    minor: (stat.rdev & 0xff) | ((stat.rdev >>> 12) & 0xfff00),
    fileMode: stat.mode & 0o7777,
    uid: stat.uid,
    gid: stat.gid,
    permissions,
  };
}
