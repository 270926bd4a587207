import { TsswarmError } from '../../../../base/errors.ts';
import type { Mount, MountPropagation } from '../../../../proto/types/index.ts';
import { bytes, csvPairs, flagBoolean, pair, refuseValue, word } from './values.ts';

const PROPAGATIONS: readonly MountPropagation[] = ['rprivate', 'private', 'rshared', 'shared', 'rslave', 'slave'];
/** Understood, and not to be had. */
const REFUSED: readonly string[] = [
  'bind-nonrecursive',
  'bind-recursive',
  'consistency',
  'image-subpath',
  'volume-cluster',
];

/** What has been read of a mount, before it is known whether it fits its type. */
interface Read {
  type: string;
  source: string;
  target: string;
  readOnly: boolean;
  propagation?: MountPropagation;
  createHostPath?: boolean;
  noCopy?: boolean;
  subpath?: string;
  driver?: string;
  driverOptions: Record<string, string>;
  labels: Record<string, string>;
  sizeBytes?: number;
  mode?: number;
}

/** `--mount type=volume,source=…,target=…,readonly`, as Docker has it. @throws INVALID_INPUT, NOT_SUPPORTED */
export function parseMountFlag(flag: string, text: string): Mount {
  const read: Read = { type: 'volume', source: '', target: '', readOnly: false, driverOptions: {}, labels: {} };
  for (const [key, value] of csvPairs(flag, text)) take(read, key, value, flag, text);
  const refuse = (why: string): never => refuseValue(flag, text, why);
  const { source, readOnly, driverOptions, labels } = read;
  const target = read.target.replace(/(.)\/+$/, '$1');
  if (target === '') refuse('it has no target');
  if (!target.startsWith('/')) refuse(`the target "${target}" is no absolute path`);
  const only = (type: string, ...names: readonly (keyof Read)[]): void => {
    for (const name of names) {
      const value = read[name];
      const isGiven = typeof value === 'object' ? Object.keys(value).length > 0 : value !== undefined;
      if (isGiven) refuse(`options of ${type}s do not fit the type "${read.type}"`);
    }
  };
  if (read.type !== 'bind') only('bind mount', 'propagation', 'createHostPath');
  if (read.type !== 'volume') only('volume', 'noCopy', 'subpath', 'driver', 'driverOptions', 'labels');
  if (read.type !== 'tmpfs') only('tmpfs mount', 'sizeBytes', 'mode');
  switch (word(flag, read.type, ['volume', 'bind', 'tmpfs'])) {
    case 'bind':
      if (!source.startsWith('/')) refuse(`the source of a bind mount is "${source}", expected an absolute path`);
      return {
        type: 'bind',
        source,
        target,
        readOnly,
        propagation: read.propagation ?? 'rprivate',
        createHostPath: read.createHostPath ?? false,
      };
    case 'tmpfs':
      if (source !== '') refuse('a tmpfs mount has no source');
      return { type: 'tmpfs', target, readOnly, sizeBytes: read.sizeBytes ?? 0, mode: read.mode ?? 0o1777 };
    case 'volume':
      if (source.includes('/')) refuse(`"${source}" is no name of a volume (a path needs type=bind)`);
      return {
        type: 'volume',
        source,
        target,
        readOnly,
        noCopy: read.noCopy ?? false,
        subpath: read.subpath ?? '',
        driver: read.driver ?? 'local',
        driverOptions,
        labels,
      };
  }
}

function take(read: Read, key: string, value: string, flag: string, text: string): void {
  switch (key) {
    case 'type':
      read.type = value;
      return;
    case 'source':
    case 'src':
      read.source = value;
      return;
    case 'target':
    case 'dst':
    case 'destination':
      read.target = value;
      return;
    case 'readonly':
    case 'ro':
      read.readOnly = flagBoolean(flag, text, value);
      return;
    case 'bind-propagation':
      read.propagation = word(flag, value, PROPAGATIONS);
      return;
    case 'bind-create-src':
      read.createHostPath = flagBoolean(flag, text, value);
      return;
    case 'volume-nocopy':
      read.noCopy = flagBoolean(flag, text, value);
      return;
    case 'volume-subpath':
      read.subpath = value;
      return;
    case 'volume-driver':
      if (value !== 'local') unsupported(flag, text, `the volume driver "${value}"`);
      read.driver = value;
      return;
    case 'volume-opt':
      Object.assign(read.driverOptions, Object.fromEntries([pair(flag, value)]));
      return;
    case 'volume-label':
      Object.assign(read.labels, Object.fromEntries([pair(flag, value)]));
      return;
    case 'tmpfs-size':
      read.sizeBytes = bytes(flag, value);
      return;
    case 'tmpfs-mode':
      if (!/^[0-7]{1,5}$/.test(value)) refuseValue(flag, text, `"${value}" is no mode such as 1777`);
      read.mode = Number.parseInt(value, 8);
      return;
    default:
      if (REFUSED.includes(key)) unsupported(flag, text, `"${key}"`);
      refuseValue(flag, text, `the key "${key}" is not known`);
  }
}

function unsupported(flag: string, text: string, what: string): never {
  throw new TsswarmError('NOT_SUPPORTED', `using ${flag} "${text}": ${what} is not supported yet`);
}
