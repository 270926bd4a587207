import { readIpSubnet } from '../../base/ip-address.ts';
import type { NetworkAttachment, NetworkSpec, ServiceLink } from '../../proto/types/index.ts';
import type { ComposeIpamConfig, ComposeNetwork, ComposeProject, ComposeService } from '../types/project.ts';

export function convertNetwork(projectName: string, key: string, network: ComposeNetwork): NetworkSpec {
  const entries = network.ipam?.config ?? [];
  const isIpv6 = ({ subnet = '' }: ComposeIpamConfig): boolean => readIpSubnet(subnet)?.family === 6;
  const plan = (config: ComposeIpamConfig | undefined) => ({
    subnet: config?.subnet ?? '',
    gateway: config?.gateway ?? '',
    ipRange: config?.ip_range ?? '',
  });
  return {
    name: network.name,
    composeName: key,
    driver: network.driver ?? 'overlay',
    labels: { ...network.labels, 'com.docker.compose.project': projectName, 'com.docker.compose.network': key },
    internal: network.internal ?? false,
    attachable: network.attachable ?? false,
    options: network.driver_opts ?? {},
    ...plan(entries.find((config) => !isIpv6(config))),
    auxiliaryAddresses: Object.assign({}, ...entries.map(({ aux_addresses }) => aux_addresses ?? {})) as Record<
      string,
      string
    >,
    ...(network.enable_ipv6 === true ? { ipv6: plan(entries.find(isIpv6)) } : {}),
  };
}

/** The networks of a service, the one with the highest priority first, as Compose attaches them. */
export function convertAttachments(project: ComposeProject, service: ComposeService): readonly NetworkAttachment[] {
  const byPriority = Object.entries(service.networks).sort(([, a], [, b]) => (b?.priority ?? 0) - (a?.priority ?? 0));
  return byPriority.map(([key, attachment], index) => {
    const mac = attachment?.mac_address ?? (index === 0 ? service.mac_address : undefined);
    return {
      network: project.networks[key]?.name ?? key,
      aliases: attachment?.aliases ?? [],
      ipv4Address: attachment?.ipv4_address ?? '',
      ...(attachment?.ipv6_address === undefined ? {} : { ipv6Address: attachment.ipv6_address }),
      ...(mac === undefined ? {} : { macAddress: mac.toLowerCase() }),
      ...(attachment?.priority === undefined ? {} : { priority: attachment.priority }),
      ...(attachment?.gw_priority === undefined ? {} : { gatewayPriority: attachment.gw_priority }),
      ...(attachment?.interface_name === undefined ? {} : { interfaceName: attachment.interface_name }),
    };
  });
}

/** Names that linked services have in the containers of this one only. */
export function convertLinks({ links = [] }: ComposeService): { readonly links?: readonly ServiceLink[] } {
  const named = links.flatMap((link) => {
    const [service = '', alias = service] = link.split(':');
    return alias === service ? [] : [{ service, alias }];
  });
  return named.length === 0 ? {} : { links: named };
}
