import { planFault } from '../../base/address-plan.ts';
import { readIpSubnet } from '../../base/ip-address.ts';
import type { ComposeIpamConfig, ComposeNetwork } from '../types/project.ts';
import type { Reader } from './reader.ts';
import { compact } from './reader.ts';

const KEYS = { subnet: 'subnet', gateway: 'gateway', ipRange: 'ip_range', auxiliary: 'aux_addresses' } as const;

/** The addresses of a network: one entry for each family. @throws INVALID_COMPOSE, NOT_SUPPORTED with the place */
export function readAddresses(network: Reader): Pick<ComposeNetwork, 'enable_ipv4' | 'enable_ipv6' | 'ipam'> {
  if (network.bool('enable_ipv4') === false) network.notYet('enable_ipv4', 'false: a network without IPv4');
  const isDual = network.bool('enable_ipv6') ?? false;
  const ipam = network.at('ipam');
  const driver = ipam.text('driver');
  if (driver !== undefined && driver !== 'default') ipam.notYet('driver', `"${driver}"`);
  if (Object.keys(ipam.labels('options') ?? {}).length > 0) ipam.notYet('options', 'of the address manager');
  const families = new Set<number>();
  const config = ipam
    .at('config')
    .items()
    .map((item): ComposeIpamConfig => {
      const entry = {
        subnet: item.text('subnet'),
        ip_range: item.text('ip_range'),
        gateway: item.text('gateway'),
        aux_addresses: item.labels('aux_addresses'),
      };
      const family = readIpSubnet(entry.subnet ?? '')?.family ?? 4;
      const fault = planFault(
        {
          subnet: entry.subnet ?? '',
          gateway: entry.gateway ?? '',
          ipRange: entry.ip_range ?? '',
          auxiliary: entry.aux_addresses ?? {},
        },
        family,
      );
      if (fault !== undefined) item.refuse(KEYS[fault.field], fault.reason);
      if (families.size === families.add(family).size)
        item.refuse('subnet', `is the second of IPv${family}: a network has one`, 'make two networks');
      if (family === 6 && !isDual)
        item.refuse('subnet', 'is of IPv6, which the network does not have', 'add "enable_ipv6: true" to the network');
      return compact(entry) as ComposeIpamConfig;
    });
  return compact({
    enable_ipv6: isDual ? true : undefined,
    ipam: config.length === 0 ? undefined : { config },
  }) as ReturnType<typeof readAddresses>;
}
