import { TsswarmError } from '../../../base/errors.ts';
import { driverScope } from '../../../base/network-driver.ts';
import { readIp, readIpSubnet, subnetContains } from '../../../base/ip-address.ts';
import type { NetworkSpec } from '../../../proto/types/index.ts';
import { pair, refuseValue, word } from '../services/flags/values.ts';

/** What `tsswarm network create` was given. */
export interface CreateFlags {
  readonly driver?: string;
  readonly subnet?: readonly string[];
  readonly gateway?: readonly string[];
  readonly ipRange?: readonly string[];
  readonly auxAddress?: readonly string[];
  readonly ipv4?: boolean;
  readonly ipv6?: boolean;
  readonly internal?: boolean;
  readonly attachable?: boolean;
  readonly opt?: readonly string[];
  readonly label?: readonly string[];
  readonly scope?: string;
  readonly ingress?: boolean;
  readonly configOnly?: boolean;
  readonly configFrom?: string;
  readonly ipamDriver?: string;
  readonly ipamOpt?: readonly string[];
}

/** The network that flags describe. @throws INVALID_INPUT, NOT_SUPPORTED for what Docker has and this has not */
export function networkSpecOf(name: string, flags: CreateFlags): NetworkSpec {
  refuseUnsupported(flags);
  const { subnet = [], gateway = [], ipRange = [], auxAddress = [], opt = [], label = [] } = flags;
  const four = oneOf('--subnet', subnet, 4);
  const six = oneOf('--subnet', subnet, 6);
  const auxiliary = Object.fromEntries(auxAddress.map((text) => auxiliaryAddress(text, subnet)));
  const driver = flags.driver ?? '';
  if (flags.scope !== undefined) {
    const scope = word('--scope', flags.scope, ['local', 'swarm']);
    if (scope !== driverScope(driver))
      refuseValue('--scope', scope, `networks of this driver have the scope ${driverScope(driver)}`);
  }
  return {
    name,
    composeName: name,
    driver,
    labels: Object.fromEntries(label.map((text) => pair('--label', text))),
    internal: flags.internal ?? false,
    attachable: flags.attachable ?? false,
    options: Object.fromEntries(opt.map((text) => pair('--opt', text))),
    subnet: four,
    gateway: within('--gateway', gateway, four, 4),
    ipRange: within('--ip-range', ipRange, four, 4),
    ...(flags.ipv6 === true || six !== ''
      ? {
          ipv6: {
            subnet: six,
            gateway: within('--gateway', gateway, six, 6),
            ipRange: within('--ip-range', ipRange, six, 6),
          },
        }
      : {}),
    auxiliaryAddresses: auxiliary,
  };
}

function refuseUnsupported(flags: CreateFlags): void {
  const refuse = (flag: string, why: string): never => {
    throw new TsswarmError('NOT_SUPPORTED', `using ${flag}: ${why}`);
  };
  if (flags.ingress === true)
    refuse('--ingress', 'published ports need no network of their own: there is none to make');
  if (flags.configOnly === true || flags.configFrom !== undefined)
    refuse(flags.configOnly === true ? '--config-only' : '--config-from', 'networks are made whole, for all nodes');
  if (flags.ipamDriver !== undefined && flags.ipamDriver !== 'default')
    refuse(`--ipam-driver "${flags.ipamDriver}"`, 'addresses are given by the managers');
  if ((flags.ipamOpt ?? []).length > 0) refuse('--ipam-opt', 'addresses are given by the managers');
  if (flags.ipv4 === false) refuse('--ipv4=false', 'every network has IPv4');
}

/** The subnet of one family; empty: none was given. */
function oneOf(flag: string, texts: readonly string[], family: 4 | 6): string {
  const found = texts.filter((text) => {
    const range = readIpSubnet(text);
    return range === undefined
      ? refuseValue(flag, text, 'expected a subnet such as 10.1.2.0/24')
      : range.family === family;
  });
  if (found.length > 1)
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `using ${flag} "${found[1] ?? ''}": a network has one subnet of IPv${family}`,
    );
  return found[0] ?? '';
}

/** The gateway or range that belongs to a family's subnet; empty: none was given. */
function within(flag: string, texts: readonly string[], subnet: string, family: 4 | 6): string {
  const found = texts.filter((text) => {
    const range = readIpSubnet(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`);
    if (range === undefined) return refuseValue(flag, text, 'expected an address');
    return range.family === family;
  });
  const [only = ''] = found;
  if (found.length > 1) refuseValue(flag, found[1] ?? '', 'there is one for each subnet');
  if (only !== '' && subnet === '') refuseValue(flag, only, `there is no --subnet of IPv${family} that it belongs to`);
  return only;
}

function auxiliaryAddress(text: string, subnets: readonly string[]): readonly [string, string] {
  const [key, address] = pair('--aux-address', text);
  const read = readIp(address);
  if (read === undefined) return refuseValue('--aux-address', text, 'expected <name>=<address>');
  const isInside = subnets.some((subnet) => {
    const range = readIpSubnet(subnet);
    return range?.family === read.family && subnetContains(range, read.value);
  });
  return isInside ? [key, address] : refuseValue('--aux-address', text, 'it is no address of a --subnet');
}
