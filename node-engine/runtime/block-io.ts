import { TsswarmError } from '../../base/errors.ts';
import type { BlockIo, BlockIoDevice } from '../../proto/types/index.ts';
import { device } from './devices.ts';
import type { OciBlockDevice, OciBlockIo, OciRate } from './oci.ts';

/** As Docker has it (blkio of the kernel before version 2, BFQ's scale). */
const [SMALLEST_WEIGHT, LARGEST_WEIGHT] = [10, 1000];

/**
 * Limits at block devices, which are looked up on the node as they are now.
 * @returns undefined: there are none
 * @throws INVALID_INPUT for a path that is no block device, a weight or a rate out of range
 */
export function resolveBlockIo(limits: BlockIo | undefined): OciBlockIo | undefined {
  if (limits === undefined) return undefined;
  const { weight, weightDevices = [], readBps = [], writeBps = [], readIops = [], writeIops = [] } = limits;
  if (weight !== undefined) checkWeight('', weight);
  const weighed = weightDevices.map(({ path, value }) => {
    checkWeight(` of "${path}"`, value);
    return { ...numbersOf(path), weight: value };
  });
  const resolved: OciBlockIo = {
    ...(weight === undefined ? {} : { weight }),
    ...(weighed.length === 0 ? {} : { weightDevice: weighed }),
    ...(readBps.length === 0 ? {} : { throttleReadBpsDevice: readBps.map(rate) }),
    ...(writeBps.length === 0 ? {} : { throttleWriteBpsDevice: writeBps.map(rate) }),
    ...(readIops.length === 0 ? {} : { throttleReadIOPSDevice: readIops.map(rate) }),
    ...(writeIops.length === 0 ? {} : { throttleWriteIOPSDevice: writeIops.map(rate) }),
  };
  return Object.keys(resolved).length === 0 ? undefined : resolved;
}

function checkWeight(of: string, weight: number): void {
  if (Number.isInteger(weight) && weight >= SMALLEST_WEIGHT && weight <= LARGEST_WEIGHT) return;
  throw new TsswarmError(
    'INVALID_INPUT',
    `setting the block I/O weight${of} to "${weight}": out of range, expected ${SMALLEST_WEIGHT} to ${LARGEST_WEIGHT}`,
  );
}

function rate({ path, value }: BlockIoDevice): OciRate {
  if (Number.isSafeInteger(value) && value > 0) return { ...numbersOf(path), rate: value };
  throw new TsswarmError('INVALID_INPUT', `limiting "${path}" to "${value}" a second: expected a whole number above 0`);
}

function numbersOf(path: string): OciBlockDevice {
  const found = device(path, path, 'rwm');
  if (found?.type === 'b') return { major: found.major, minor: found.minor };
  throw new TsswarmError(
    'INVALID_INPUT',
    `limiting block I/O at "${path}": ${found === undefined ? 'it is no device of this node' : 'it is a character device'}, expected a block device`,
  );
}
