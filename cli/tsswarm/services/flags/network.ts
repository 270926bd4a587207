import { TsswarmError } from '../../../../base/errors.ts';
import type { NetworkAttachment } from '../../../../proto/types/index.ts';
import { csvPairs, refuseValue } from './values.ts';

/** `--network`: the full name of one, or "name=…,alias=…,ip=…". @throws INVALID_INPUT, NOT_SUPPORTED */
export function parseNetworkFlag(flag: string, text: string): NetworkAttachment {
  if (!text.includes('=')) return { network: text, aliases: [], ipv4Address: '' };
  let network = '';
  let ipv4Address = '';
  const aliases: string[] = [];
  for (const [key, value] of csvPairs(flag, text)) {
    if (key === 'name') network = value;
    else if (key === 'alias') aliases.push(value);
    else if (key === 'ip') ipv4Address = value;
    else if (key === 'driver-opt')
      throw new TsswarmError('NOT_SUPPORTED', `using ${flag} "${text}": "${key}" is not supported yet`);
    else refuseValue(flag, text, `the key "${key}" is not known: name, alias and ip are`);
  }
  if (network === '') refuseValue(flag, text, 'it has no name');
  return { network, aliases, ipv4Address };
}
