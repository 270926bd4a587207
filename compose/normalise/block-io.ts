import type { ComposeBlockIo, ComposeRate } from '../types/project.ts';
import type { Reader } from './reader.ts';
import { compact } from './reader.ts';
import { bytesField } from './units.ts';

/** `blkio_config`. @throws INVALID_COMPOSE with the place */
export function readBlockIo(reader: Reader): ComposeBlockIo | undefined {
  if (!reader.exists) return undefined;
  checkWeight(reader);
  const weights = reader.at('weight_device');
  return compact({
    weight: reader.integer('weight'),
    weight_device: weights.exists
      ? weights.items().map((item) => {
          checkWeight(item);
          return { path: pathOf(item), weight: item.integer('weight') ?? item.refuse('weight', 'is missing') };
        })
      : undefined,
    device_read_bps: readRates(reader.at('device_read_bps'), bytesField),
    device_write_bps: readRates(reader.at('device_write_bps'), bytesField),
    device_read_iops: readRates(reader.at('device_read_iops'), count),
    device_write_iops: readRates(reader.at('device_write_iops'), count),
  }) as ComposeBlockIo;
}

function readRates(
  reader: Reader,
  read: (item: Reader, key: string) => number | undefined,
): readonly ComposeRate[] | undefined {
  if (!reader.exists) return undefined;
  return reader.items().map((item) => {
    const rate = read(item, 'rate');
    if (rate === undefined || !(rate > 0)) item.refuse('rate', `is ${rate ?? 'missing'}, expected more than 0`);
    return { path: pathOf(item), rate: rate ?? 0 };
  });
}

const count = (item: Reader, key: string): number | undefined => item.integer(key);

function checkWeight(reader: Reader): void {
  const weight = reader.integer('weight');
  if (weight !== undefined && (weight < 10 || weight > 1000))
    reader.refuse('weight', `is ${weight}, expected 10 to 1000`);
}

function pathOf(item: Reader): string {
  const path = item.text('path');
  if (path?.startsWith('/') === true) return path;
  return item.refuse('path', `is "${path ?? ''}", expected the absolute path of a block device`);
}
