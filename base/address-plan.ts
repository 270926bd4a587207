/** What the addresses of networks and interfaces may be: the compose reader and the managers say no alike. */
import { readIp, readIpSubnet, subnetContains, subnetsOverlap } from './ip-address.ts';
import type { IpFamily } from './ip-address.ts';

/** The addresses of one family on a network, as a user writes them; empty: whatever is chosen. */
export interface AddressPlan {
  readonly subnet: string;
  readonly gateway: string;
  readonly ipRange: string;
  /** Names and addresses that are somebody else's. */
  readonly auxiliary: Readonly<Record<string, string>>;
}

export interface AddressFault<Field extends string> {
  readonly field: Field;
  /** "is …, expected …" */
  readonly reason: string;
}

/** Room for a gateway and one container at least; and no subnet that is half of all there is. */
const PREFIXES = {
  4: { least: 4, most: 30, such: '10.1.2.0/24' },
  6: { least: 8, most: 126, such: 'fd00:1:2::/64' },
} as const;

/** Why a network cannot have these addresses. */
export function planFault(plan: AddressPlan, family: IpFamily): AddressFault<keyof AddressPlan> | undefined {
  const { subnet: text, gateway, ipRange, auxiliary } = plan;
  const { least, most, such } = PREFIXES[family];
  if (text === '') {
    const field = gateway !== '' ? 'gateway' : ipRange !== '' ? 'ipRange' : 'auxiliary';
    const isAlone = gateway !== '' || ipRange !== '' || Object.keys(auxiliary).length > 0;
    return isAlone ? { field, reason: 'needs a subnet beside it' } : undefined;
  }
  const subnet = readIpSubnet(text);
  if (subnet?.family !== family || subnet.prefix < least || subnet.prefix > most)
    return {
      field: 'subnet',
      reason: `is "${text}", expected one such as ${such}, with a prefix of ${least} to ${most}`,
    };
  const isInside = (address: string): boolean => {
    const found = readIp(address);
    return found?.family === family && subnetContains(subnet, found.value);
  };
  if (gateway !== '' && !isInside(gateway))
    return { field: 'gateway', reason: `is "${gateway}", expected an address of the subnet ${text}` };
  const range = ipRange === '' ? undefined : readIpSubnet(ipRange);
  if (
    ipRange !== '' &&
    (!range || range.prefix < subnet.prefix || range.prefix > most || !subnetsOverlap(range, subnet))
  )
    return { field: 'ipRange', reason: `is "${ipRange}", expected a part of the subnet ${text}` };
  for (const [name, address] of Object.entries(auxiliary))
    if (!isInside(address))
      return {
        field: 'auxiliary',
        reason: `has "${address}" for "${name}", expected an address of the subnet ${text}`,
      };
  return undefined;
}

/** What a container's interface on a network can be given. */
export interface InterfacePlan {
  readonly ipv4Address: string;
  readonly ipv6Address?: string;
  readonly macAddress?: string;
  readonly interfaceName?: string;
}

/** As IFNAMSIZ allows, and without what /proc/sys and ip(8) read otherwise. */
const INTERFACE_NAME = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,14}$/;

/** Why a container cannot have an interface like that. */
export function interfaceFault(plan: InterfacePlan): AddressFault<keyof InterfacePlan> | undefined {
  const { ipv4Address, ipv6Address = '', macAddress, interfaceName } = plan;
  if (ipv4Address !== '' && readIp(ipv4Address)?.family !== 4)
    return { field: 'ipv4Address', reason: `is "${ipv4Address}", expected an address such as 10.1.2.3` };
  if (ipv6Address !== '' && readIp(ipv6Address)?.family !== 6)
    return { field: 'ipv6Address', reason: `is "${ipv6Address}", expected an address such as fd00:1:2::3` };
  if (macAddress !== undefined) {
    const isMac = /^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(macAddress);
    // The lowest bit of the first byte says that many are meant.
    if (!isMac || (parseInt(macAddress.slice(0, 2), 16) & 1) === 1 || /^(00:){5}00$/.test(macAddress))
      return { field: 'macAddress', reason: `is "${macAddress}", expected one host's such as 02:42:ac:11:65:43` };
  }
  if (interfaceName !== undefined && (!INTERFACE_NAME.test(interfaceName) || interfaceName === 'lo'))
    return {
      field: 'interfaceName',
      reason: `is "${interfaceName}", expected up to 15 letters and digits, and not "lo"`,
    };
  return undefined;
}
