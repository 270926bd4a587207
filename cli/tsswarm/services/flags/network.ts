import { TsswarmError } from '../../../../base/errors.ts';
import type { NetworkAttachment } from '../../../../proto/types/index.ts';
import { csvPairs, refuseValue } from './values.ts';

/** Docker's name for what a container calls its interface; the one option that an attachment has here. */
const INTERFACE_NAME = 'com.docker.network.endpoint.ifname';

/** `--network`: the full name of one, or "name=…,alias=…,ip=…". @throws INVALID_INPUT, NOT_SUPPORTED */
export function parseNetworkFlag(flag: string, text: string): NetworkAttachment {
  if (!text.includes('=')) return { network: text, aliases: [], ipv4Address: '' };
  let network = '';
  let ipv4Address = '';
  let interfaceName: string | undefined;
  const aliases: string[] = [];
  for (const [key, value] of csvPairs(flag, text)) {
    if (key === 'name') network = value;
    else if (key === 'alias') aliases.push(value);
    else if (key === 'ip') ipv4Address = value;
    else if (key === 'driver-opt') interfaceName = interfaceOf(flag, text, value);
    else refuseValue(flag, text, `the key "${key}" is not known: name, alias, ip and driver-opt are`);
  }
  if (network === '') refuseValue(flag, text, 'it has no name');
  return { network, aliases, ipv4Address, ...(interfaceName === undefined ? {} : { interfaceName }) };
}

function interfaceOf(flag: string, text: string, option: string): string {
  const at = option.indexOf('=');
  if (at > 0 && option.slice(0, at) === INTERFACE_NAME) return option.slice(at + 1);
  throw new TsswarmError('NOT_SUPPORTED', `using ${flag} "${text}": the driver option "${option}" is not there`, {
    hint: `${INTERFACE_NAME}=<name> names the interface; other options are those of the network (network create --opt)`,
  });
}
