import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { TsswarmError } from '../../base/errors.ts';
import { DEFAULT_PORT, completeAddress, split } from '../tsswarmd/addresses.ts';

const OPTION = '--advertise-addr';

/**
 * Looks at the address that other nodes are to connect to, before anything is started: with a wrong one nobody could join.
 * @param text as it was typed; undefined: the node chooses
 * @returns what is to be said of an address that may be right and often is not; empty: nothing
 * @throws INVALID_INPUT for what is no address, no interface and no name that this machine knows
 */
export async function checkAdvertised(text: string | undefined): Promise<string> {
  if (text === undefined) return '';
  const { host } = split(completeAddress(text, DEFAULT_PORT, OPTION));
  const own = Object.entries(networkInterfaces()).flatMap(([name, all = []]) =>
    all.map(({ address, internal }) => ({ name, address, internal })),
  );
  const outer = own.filter(({ internal, address }) => !internal && !address.startsWith('fe80:'));
  const shown = outer.map(({ name, address }) => `${address} (${name})`).join(', ') || 'none but the loopback';
  const addresses = isIP(host) === 0 ? await addressesOf(host, text, shown) : [host];
  if (addresses.some((address) => own.some((mine) => mine.address === address))) return '';
  return `Note: ${host} is no address of this machine. Nodes can join only if it leads here, as by address translation. This machine has: ${shown}\n`;
}

async function addressesOf(name: string, text: string, shown: string): Promise<readonly string[]> {
  try {
    return (await lookup(name, { all: true })).map(({ address }) => address);
  } catch (cause) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `using ${OPTION} "${text}": "${name}" is no address, no network interface of this machine, and no name that it can resolve`,
      { cause, hint: `this machine has: ${shown}` },
    );
  }
}
