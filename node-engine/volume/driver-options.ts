import { TsswarmError } from '../../base/errors.ts';

/** mount(2) flags by their names in mount(8); those with a false half switch a flag off. */
const FLAGS: Readonly<Record<string, number>> = {
  ro: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  sync: 16,
  dirsync: 128,
  noatime: 1024,
  nodiratime: 2048,
  bind: 4096,
  rbind: 4096 | 16384,
  relatime: 1 << 21,
  strictatime: 1 << 24,
};
/** Names that ask for what is the case anyway. */
const DEFAULTS = new Set(['rw', 'suid', 'dev', 'exec', 'async', 'atime', 'diratime', 'defaults']);

/** Where the content of a volume lies. */
export type VolumeBacking =
  /** In the engine's own folder. */
  | { readonly kind: 'local' }
  /** A folder of the node, bind-mounted into the container as it is. */
  | { readonly kind: 'bind'; readonly device: string; readonly readOnly: boolean }
  /** A file system mounted while a container runs with it. */
  | {
      readonly kind: 'mount';
      readonly fstype: string;
      readonly device: string;
      readonly flags: number;
      readonly data: string;
    };

/**
 * The local driver's options `type`, `o` and `device`, as mount(8) takes them (Docker docs: volume create).
 * @throws INVALID_INPUT for other or contradicting options
 */
export function parseDriverOptions(volume: string, options: Readonly<Record<string, string>>): VolumeBacking {
  const fail = (what: string): never => {
    throw new TsswarmError('INVALID_INPUT', `making volume "${volume}": ${what}`, {
      hint: 'the local driver takes the options type, o and device, as mount(8) does',
    });
  };
  for (const key of Object.keys(options)) {
    if (!['type', 'o', 'device'].includes(key)) fail(`unknown driver option "${key}"`);
  }
  const { type = '', o = '', device = '' } = options;
  if (type === '' && o === '' && device === '') return { kind: 'local' };
  let flags = 0;
  const data: string[] = [];
  for (const option of o.split(',').filter((part) => part !== '')) {
    const flag = FLAGS[option];
    if (flag !== undefined) flags |= flag;
    else if (!DEFAULTS.has(option)) data.push(option);
  }
  if (device === '') return fail('driver option "device" is missing');
  if ((flags & FLAGS['bind']!) !== 0 || type === 'bind') {
    if (!device.startsWith('/')) fail(`device "${device}" is relative, expected an absolute path`);
    if (data.length > 0) fail(`option "${data.join(',')}" is not one of a bind mount`);
    return { kind: 'bind', device, readOnly: (flags & FLAGS['ro']!) !== 0 };
  }
  if (type === '' || type === 'none')
    return fail('driver option "type" is missing, expected a file system such as "tmpfs" or "nfs"');
  return { kind: 'mount', fstype: type, device, flags, data: data.join(',') };
}
