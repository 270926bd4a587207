import type { BlockIo } from '../../proto/types/index.ts';
import type { ComposeBlockIo, ComposeRate } from '../types/project.ts';

type Devices = NonNullable<BlockIo['readBps']>;

/** `blkio_config`; undefined: it says nothing. */
export function convertBlockIo(config: ComposeBlockIo | undefined): BlockIo | undefined {
  if (config === undefined) return undefined;
  const rates = (key: keyof BlockIo, list: readonly ComposeRate[] = []): Partial<BlockIo> =>
    list.length === 0 ? {} : { [key]: list.map(({ path, rate }) => ({ path, value: rate })) satisfies Devices };
  const weights = (config.weight_device ?? []).map(({ path, weight }) => ({ path, value: weight }));
  const limits: BlockIo = {
    ...(config.weight === undefined ? {} : { weight: config.weight }),
    ...(weights.length === 0 ? {} : { weightDevices: weights }),
    ...rates('readBps', config.device_read_bps),
    ...rates('writeBps', config.device_write_bps),
    ...rates('readIops', config.device_read_iops),
    ...rates('writeIops', config.device_write_iops),
  };
  return Object.keys(limits).length === 0 ? undefined : limits;
}
