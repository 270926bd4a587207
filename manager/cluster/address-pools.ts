import { TsswarmError } from '../../base/errors.ts';
import { readIpSubnet, subnetsOverlap } from '../../base/ip-address.ts';

/** Prefix length of the subnets that are cut from the pools of IPv4; those of IPv6 have 64. */
export const DEFAULT_POOL_PREFIX = 24;
const LONGEST_PREFIX = 29;
const IPV6_PREFIX = 64;

/**
 * Checks what networks shall be cut from.
 * @param pools "10.20.0.0/16", "fd00:1::/48"
 * @throws INVALID_INPUT that says what is possible
 */
export function checkAddressPools(pools: readonly string[], prefix: number): void {
  if (!Number.isInteger(prefix) || prefix < 8 || prefix > LONGEST_PREFIX) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `cutting subnets with a prefix of "${prefix}" from address pools: expected 8 to ${LONGEST_PREFIX}`,
    );
  }
  const known = pools.map((text) => {
    const subnet = readIpSubnet(text);
    if (subnet === undefined) throw refused(text, 'expected a subnet such as 10.20.0.0/16');
    const longest = subnet.family === 4 ? prefix : IPV6_PREFIX;
    if (subnet.prefix > longest) throw refused(text, `it is smaller than one of the subnets cut from it, /${longest}`);
    return { text, subnet };
  });
  for (const [index, { text, subnet }] of known.entries()) {
    const other = known.slice(0, index).find((one) => subnetsOverlap(one.subnet, subnet));
    if (other !== undefined) throw refused(text, `it overlaps the pool "${other.text}"`);
  }
}

const refused = (pool: string, reason: string): TsswarmError =>
  new TsswarmError('INVALID_INPUT', `using the address pool "${pool}": ${reason}`);
