import { isAbsolute, normalize, resolve } from 'node:path/posix';
import type { ComposeMount } from '../types/project.ts';
import { bytesField, parseBytes } from './units.ts';
import { compact } from './reader.ts';
import type { Reader } from './reader.ts';

export interface PathContext {
  /** What relative paths of the project start from. */
  readonly workingDir: string;
  /** For `~`; undefined when the user has none. */
  readonly home: string | undefined;
}

const PROPAGATIONS = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'];

/** `volumes:` and `tmpfs:` of a service in long form. */
export function readMounts(service: Reader, context: PathContext): readonly ComposeMount[] {
  const list = service.at('volumes');
  const mounts = list
    .items()
    .map((item, index) =>
      typeof item.value === 'object' && item.value !== null
        ? longMount(item, context)
        : shortMount(list, index, context),
    );
  const targets = new Set<string>();
  for (const [index, { target }] of mounts.entries()) {
    if (targets.has(target)) list.refuse(index, `mounts "${target}", which is mounted already`);
    targets.add(target);
  }
  for (const [index, text] of (service.strings('tmpfs') ?? []).entries()) {
    const mount = tmpfs(text) ?? service.refuse('tmpfs', `has "${text}", expected a path with options size= and mode=`);
    if (targets.has(mount.target))
      service.refuse('tmpfs', `mounts "${mount.target}", which is mounted already (entry ${index + 1})`);
    targets.add(mount.target);
    mounts.push(mount);
  }
  return mounts;
}

function longMount(item: Reader, context: PathContext): ComposeMount {
  const type = item.text('type') ?? item.refuse(undefined, 'has no type', 'one of: bind, volume, tmpfs');
  if (type === 'npipe' || type === 'cluster' || type === 'image') return item.notYet('type', `"${type}"`);
  const target = cleanTarget(item.text('target') ?? item.refuse(undefined, 'has no target'), item, 'target');
  if (
    item.text('consistency') !== undefined &&
    !['consistent', 'cached', 'delegated'].includes(item.text('consistency') ?? '')
  ) {
    item.refuse('consistency', 'is unknown');
  }
  const common = compact({ type: type as ComposeMount['type'], target, read_only: item.bool('read_only') });
  if (type === 'tmpfs') {
    const options = item.at('tmpfs');
    return {
      ...common,
      tmpfs: compact({ size: bytesField(options, 'size'), mode: options.mode('mode') }),
    } as ComposeMount;
  }
  if (type === 'bind') {
    const source = item.text('source') ?? item.refuse(undefined, 'has no source: a bind mount needs one');
    const options = item.at('bind');
    for (const key of ['recursive', 'selinux'])
      if (options.text(key) !== undefined) options.notYet(key, `"${options.text(key) ?? ''}"`);
    return {
      ...common,
      source: absolute(source, context),
      bind: compact({
        propagation: options.text('propagation'),
        create_host_path: options.bool('create_host_path') ?? false,
      }),
    } as ComposeMount;
  }
  const options = item.at('volume');
  const source = item.text('source');
  return {
    ...common,
    ...(source === undefined ? {} : { source }),
    volume: compact({
      nocopy: options.bool('nocopy'),
      subpath: options.text('subpath'),
      labels: options.labels('labels'),
    }),
  } as ComposeMount;
}

/** `[source:]target[:options]`: a source with a path's look is a bind mount, else the name of a volume. */
function shortMount(list: Reader, index: number, context: PathContext): ComposeMount {
  const text = list.text(index) ?? '';
  const parts = text.split(':');
  if (parts.length > 3 || parts.some((part, i) => part === '' && i < 2)) {
    list.refuse(index, `is "${text}"`, 'the form is [source:]target[:options]');
  }
  const [first = '', second, third] = parts;
  if (second === undefined) return { type: 'volume', target: cleanTarget(first, list, index), volume: {} };
  const options = third?.split(',') ?? [];
  const known = ['rw', 'ro', 'z', 'Z', 'nocopy', 'cached', 'delegated', 'consistent', ...PROPAGATIONS];
  for (const option of options) {
    if (!known.includes(option))
      list.refuse(index, `is "${text}": option "${option}" is unknown`, `known are ${known.join(', ')}`);
  }
  const readOnly = options.includes('ro') ? { read_only: true } : {};
  const target = cleanTarget(second, list, index);
  if (/^[./~]/.test(first)) {
    const propagation = options.find((option) => PROPAGATIONS.includes(option));
    return {
      type: 'bind',
      source: absolute(first, context),
      target,
      ...readOnly,
      bind: { create_host_path: true, ...(propagation === undefined ? {} : { propagation }) },
    };
  }
  return {
    type: 'volume',
    source: first,
    target,
    ...readOnly,
    volume: options.includes('nocopy') ? { nocopy: true } : {},
  };
}

function tmpfs(text: string): ComposeMount | undefined {
  const [target = '', options] = text.split(':');
  if (!isAbsolute(target)) return undefined;
  const mount: { size?: number; mode?: number } = {};
  let readOnly = false;
  for (const option of options?.split(',') ?? []) {
    const [key, value = ''] = option.split('=');
    if (key === 'size') {
      const size = parseBytes(value);
      if (size === undefined) return undefined;
      mount.size = size;
    } else if (key === 'mode') mount.mode = Number.parseInt(value, 8);
    else if (key === 'ro') readOnly = true;
    else if (!['rw', 'nosuid', 'nodev', 'noexec', 'noatime'].includes(key ?? '')) return undefined;
  }
  return { type: 'tmpfs', target: normalize(target), ...(readOnly ? { read_only: true } : {}), tmpfs: mount };
}

function cleanTarget(target: string, reader: Reader, key: string | number): string {
  if (!isAbsolute(target)) reader.refuse(key, `mounts at "${target}", expected an absolute path in the container`);
  const clean = normalize(target).replace(/(.)\/$/, '$1');
  if (clean === '/') reader.refuse(key, 'mounts at "/", which would hide the whole image');
  return clean;
}

/** A path of the user's, absolute. */
export function absolute(path: string, { workingDir, home }: PathContext): string {
  if (path === '~' || path.startsWith('~/')) return resolve(home ?? '/root', `.${path.slice(1)}`);
  return resolve(workingDir, path);
}
