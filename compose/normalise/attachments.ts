import type { InterfacePlan } from '../../base/address-plan.ts';
import { interfaceFault } from '../../base/address-plan.ts';
import type { ComposeAttachment, ComposeDependency, ComposeService } from '../types/project.ts';
import type { Reader } from './reader.ts';
import { compact } from './reader.ts';

const KEYS: Readonly<Record<keyof InterfacePlan, string>> = {
  ipv4Address: 'ipv4_address',
  ipv6Address: 'ipv6_address',
  macAddress: 'mac_address',
  interfaceName: 'interface_name',
};

/** The networks that a service is on. @throws INVALID_COMPOSE with the place */
export function readAttachments(reader: Reader): ComposeService['networks'] {
  const networks = reader.at('networks');
  if (reader.text('network_mode') !== undefined && reader.text('network_mode') !== 'bridge') return {};
  if (!networks.exists || networks.keys().length === 0) return { default: null };
  if (Array.isArray(networks.value))
    return Object.fromEntries((networks.value as unknown[]).map((name) => [String(name), null]));
  return Object.fromEntries(
    networks.keys().map((name) => [name, networks.at(name).exists ? readAttachment(networks.at(name)) : null]),
  );
}

function readAttachment(item: Reader): ComposeAttachment {
  const attachment = compact({
    aliases: item.strings('aliases'),
    ipv4_address: item.text('ipv4_address'),
    ipv6_address: item.text('ipv6_address'),
    mac_address: item.text('mac_address'),
    interface_name: item.text('interface_name'),
    priority: item.integer('priority'),
    gw_priority: item.integer('gw_priority'),
  }) as ComposeAttachment;
  const fault = interfaceFault(
    compact({
      ipv4Address: attachment.ipv4_address ?? '',
      ipv6Address: attachment.ipv6_address,
      macAddress: attachment.mac_address,
      interfaceName: attachment.interface_name,
    }) as unknown as InterfacePlan,
  );
  if (fault !== undefined) item.refuse(KEYS[fault.field], fault.reason);
  return attachment;
}

/** The hardware address of the first interface. @throws INVALID_COMPOSE with the place */
export function readMacAddress(reader: Reader): string | undefined {
  const macAddress = reader.text('mac_address');
  if (macAddress === undefined) return undefined;
  const fault = interfaceFault({ ipv4Address: '', macAddress });
  if (fault !== undefined) reader.refuse('mac_address', fault.reason);
  const mode = reader.text('network_mode');
  if (mode !== undefined && mode !== 'bridge')
    reader.refuse('mac_address', `is for an interface on a network, and "network_mode: ${mode}" has none`);
  return macAddress;
}

/** "db" or "db:database": what is linked starts before, as with `depends_on`. @throws INVALID_COMPOSE with the place */
export function withLinks(
  reader: Reader,
  dependencies: Readonly<Record<string, ComposeDependency>>,
): Readonly<Record<string, ComposeDependency>> {
  const links = reader.strings('links') ?? [];
  const mode = reader.text('network_mode');
  if (links.length > 0 && mode !== undefined && mode !== 'bridge')
    reader.refuse('links', `needs a network, and "network_mode: ${mode}" has none of its own`);
  const linked = links.map((link, index) => {
    const [service = '', alias, ...more] = link.split(':');
    if (service === '' || alias === '' || more.length > 0)
      reader.at('links').refuse(index, `is "${link}", expected "service" or "service:alias"`);
    return [service, { condition: 'service_started', required: true }] as const;
  });
  return { ...Object.fromEntries(linked), ...dependencies };
}
