import { TsswarmError } from '../../../base/errors.ts';
import type { BlockIo } from '../../../proto/types/index.ts';
import { resolveBlockIo } from '../block-io.ts';
import type { OciBlockIo } from '../oci.ts';
import type { ControlFiles, LimitChange } from './limits.ts';

/** Version 1: a file for each rate; 0 lifts it (Documentation/admin-guide/cgroup-v1/blkio-controller.rst of the kernel). */
const RATES_V1 = [
  ['blkio.throttle.read_bps_device', 'throttleReadBpsDevice'],
  ['blkio.throttle.write_bps_device', 'throttleWriteBpsDevice'],
  ['blkio.throttle.read_iops_device', 'throttleReadIOPSDevice'],
  ['blkio.throttle.write_iops_device', 'throttleWriteIOPSDevice'],
] as const;
/** Version 2: one file, a line for each device (cgroup-v2.rst). */
const RATES_V2 = [
  ['rbps', 'throttleReadBpsDevice'],
  ['wbps', 'throttleWriteBpsDevice'],
  ['riops', 'throttleReadIOPSDevice'],
  ['wiops', 'throttleWriteIOPSDevice'],
] as const;
/** Files of weights, with the weight of a group that nobody has given any. */
const WEIGHTS = [
  ['blkio.weight', 500],
  ['blkio.bfq.weight', 100],
  ['io.bfq.weight', 100],
  ['io.weight', 100],
] as const;
/** Files of the weights of single devices. */
const DEVICE_WEIGHTS = ['blkio.bfq.weight_device', 'io.bfq.weight', 'io.weight'];

/**
 * What has to be written to make the limits at block devices what they shall be.
 * @throws INVALID_INPUT for devices that are not there, NOT_SUPPORTED for what this kernel lacks
 */
export function blockIoChanges(files: ControlFiles, limits: BlockIo | undefined): readonly LimitChange[] {
  const wanted = resolveBlockIo(limits) ?? {};
  const { weight, weightDevice = [], ...rates } = wanted;
  const has = (file: string): boolean => files.read(file) !== undefined;
  const v1 = has(RATES_V1[0][0]);
  if (!v1 && !has('io.max') && Object.keys(rates).length > 0) throw lacking('limits of the rate at block devices');
  const weightFile = WEIGHTS.find(([file]) => has(file));
  if (weight !== undefined && weightFile === undefined) throw lacking('weights of block I/O');
  const deviceFile = DEVICE_WEIGHTS.find(has);
  if (weightDevice.length > 0 && deviceFile === undefined) throw lacking('weights of block I/O at single devices');
  const weights = new Map(weightDevice.map(({ major, minor, weight: own }) => [`${major}:${minor}`, own]));
  return [
    ...(v1 ? RATES_V1.flatMap(([file, key]) => ratesV1(files, file, wanted[key] ?? [])) : ratesV2(files, wanted)),
    ...(weightFile === undefined ? [] : weightChange(files, weightFile[0], weight, weightFile[1])),
    ...(deviceFile === undefined ? [] : deviceWeights(files, deviceFile, weights)),
  ];
}

const lacking = (what: string): TsswarmError =>
  new TsswarmError('NOT_SUPPORTED', `limiting block I/O: this kernel has no ${what}`);

type Rates = NonNullable<OciBlockIo['throttleReadBpsDevice']>;

function ratesV1(files: ControlFiles, file: string, rates: Rates): readonly LimitChange[] {
  const wanted = new Map(rates.map(({ major, minor, rate }) => [`${major}:${minor}`, String(rate)]));
  return entries(file, linesOf(files, file), wanted, '0', 'no limit');
}

function ratesV2(files: ControlFiles, wanted: OciBlockIo): readonly LimitChange[] {
  if (files.read('io.max') === undefined) return [];
  const devices = new Map<string, Map<string, number>>();
  for (const [word, key] of RATES_V2) {
    for (const { major, minor, rate } of wanted[key] ?? []) {
      const number = `${major}:${minor}`;
      devices.set(number, (devices.get(number) ?? new Map<string, number>()).set(word, rate));
    }
  }
  const text = (rates: ReadonlyMap<string, number>): string =>
    RATES_V2.map(([word]) => `${word}=${rates.get(word) ?? 'max'}`).join(' ');
  const lines = new Map([...devices].map(([number, rates]) => [number, text(rates)]));
  return entries('io.max', linesOf(files, 'io.max'), lines, text(new Map()), 'no limit');
}

function weightChange(
  files: ControlFiles,
  file: string,
  weight: number | undefined,
  preset: number,
): readonly LimitChange[] {
  const found = linesOf(files, file).get('default') ?? files.read(file)?.trim() ?? '';
  const expected = String(weight === undefined ? preset : scaled(file, weight));
  return found === expected ? [] : [{ file, text: expected, expected, found }];
}

function deviceWeights(
  files: ControlFiles,
  file: string,
  weights: ReadonlyMap<string, number>,
): readonly LimitChange[] {
  const found = new Map([...linesOf(files, file)].filter(([number]) => number.includes(':')));
  const wanted = new Map([...weights].map(([number, weight]) => [number, String(scaled(file, weight))]));
  return entries(file, found, wanted, 'default', 'the weight of the others');
}

/** As the launcher converts (cgroup-v2.c): 10 to 1000 is BFQ's own scale, io.weight runs from 1 to 10000. */
const scaled = (file: string, weight: number): number =>
  file === 'io.weight' ? 1 + Math.floor(((weight - 10) * 9999) / 990) : weight;

/** "8:0 1048576" as a map; a line without a device is one of "default". */
function linesOf(files: ControlFiles, file: string): ReadonlyMap<string, string> {
  const lines = (files.read(file) ?? '').split('\n').filter(Boolean);
  return new Map(
    lines.map((line) => {
      const at = line.indexOf(' ');
      return at === -1 ? ['default', line] : [line.slice(0, at), line.slice(at + 1).trim()];
    }),
  );
}

/** @param lifted what is written to lift an entry @param none how an entry is called that is not there */
function entries(
  file: string,
  found: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, string>,
  lifted: string,
  none: string,
): readonly LimitChange[] {
  return [...new Set([...found.keys(), ...wanted.keys()])].flatMap((device) => {
    const [now, then] = [found.get(device), wanted.get(device)];
    if (now === then || (then === undefined && now === lifted)) return [];
    const text = `${device} ${then ?? lifted}`;
    return [{ file: `${file} ${device}`, text, expected: then ?? none, found: now ?? none }];
  });
}
