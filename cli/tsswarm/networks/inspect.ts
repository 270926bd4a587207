import { MTU_OPTION, driverScope, isEncrypted } from '../../../base/network-driver.ts';
import { isServing } from '../../../manager/model/task-state.ts';
import { macOf } from '../../../node-engine/network/address.ts';
import type { NetworkAttachment, Network, Node, Service, Task } from '../../../proto/types/index.ts';
import { byName, keysShown } from '../nodes/words.ts';
import { portWords } from '../services/list.ts';
import { taskName } from '../services/find.ts';
import type { NetworkUsers } from './uses.ts';

const DEFAULT_MTU = 1500;

/**
 * A network in the shape of `docker network inspect`; of all nodes, not of one.
 * @param nodes for the verbose form: with the nodes that take part, and the endpoints of each service
 */
export function inspectedNetwork(network: Network, users: NetworkUsers, nodes?: readonly Node[]) {
  const { spec } = network;
  const { ipv6 } = network;
  const tasks = users.tasks
    .filter((task) => isServing(task) && addressOn(task, network) !== undefined)
    .sort((a, b) => byName(a.name, b.name));
  return {
    Name: spec.name,
    Id: network.id,
    Created: new Date(network.meta.createdAt).toISOString(),
    Scope: driverScope(spec.driver),
    Driver: spec.driver,
    EnableIPv4: true,
    EnableIPv6: spec.ipv6 !== undefined,
    IPAM: {
      Driver: 'default',
      Options: null,
      Config: [
        {
          Subnet: network.subnet === '' ? spec.subnet : network.subnet,
          ...(spec.ipRange === '' ? {} : { IPRange: spec.ipRange }),
          Gateway: network.gateway === '' ? spec.gateway : network.gateway,
          ...(Object.keys(spec.auxiliaryAddresses).length === 0
            ? {}
            : { AuxiliaryAddresses: new Map(Object.entries(spec.auxiliaryAddresses)) }),
        },
        ...(ipv6 === undefined
          ? []
          : [
              {
                Subnet: ipv6.subnet,
                ...(spec.ipv6 === undefined || spec.ipv6.ipRange === '' ? {} : { IPRange: spec.ipv6.ipRange }),
                Gateway: ipv6.gateway,
              },
            ]),
      ],
    },
    Internal: spec.internal,
    Attachable: spec.attachable,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: new Map(tasks.map((task) => [task.status.containerId, endpointOf(task, network)])),
    Options: new Map(Object.entries(spec.options)),
    Labels: new Map(Object.entries(spec.labels)),
    ...(nodes === undefined ? {} : verboseOf(network, users, nodes, tasks)),
  };
}

const addressOn = (task: Task, { id }: Network) => task.addresses.find(({ networkId }) => networkId === id);

function endpointOf(task: Task, network: Network) {
  const address = addressOn(task, network);
  const prefixOf = (subnet: string | undefined): string => subnet?.split('/')[1] ?? '';
  return {
    Name: task.name,
    EndpointID: task.id,
    MacAddress: macAddressOf(task, network),
    IPv4Address: `${address?.ipv4 ?? ''}/${prefixOf(network.subnet)}`,
    IPv6Address: address?.ipv6 === undefined ? '' : `${address.ipv6}/${prefixOf(network.ipv6?.subnet)}`,
  };
}

function macAddressOf(task: Task, network: Network): string {
  const isOfNetwork = ({ network: name }: NetworkAttachment): boolean => name === network.spec.name;
  return task.spec.networks.find(isOfNetwork)?.macAddress ?? macOf(addressOn(task, network)?.ipv4 ?? '');
}

function verboseOf(network: Network, users: NetworkUsers, nodes: readonly Node[], tasks: readonly Task[]) {
  const taking = nodes.filter(({ id }) => tasks.some(({ nodeId }) => nodeId === id));
  const pathOf = (node: Node | undefined): string => node?.description.overlay?.address ?? node?.status.address ?? '';
  const services = users.services.filter(({ id }) => tasks.some(({ serviceId }) => serviceId === id));
  // Without the option an overlay follows the path between nodes, each node for itself.
  const mtu = network.spec.options[MTU_OPTION] ?? (network.vni === undefined ? DEFAULT_MTU : undefined);
  return {
    ...(mtu === undefined ? {} : { MTU: Number(mtu) }),
    ...(network.vni === undefined ? {} : { VNI: network.vni }),
    Encrypted: isEncrypted(network.spec.options),
    Peers: taking
      .sort((a, b) => byName(a.description.hostname, b.description.hostname))
      .map((node) => ({
        Name: node.description.hostname,
        ID: node.id,
        IP: pathOf(node),
        ...(node.description.overlay === undefined ? {} : { Port: node.description.overlay.port }),
        State: node.status.state,
        ...(isEncrypted(network.spec.options) ? { Keys: keysShown(node) } : {}),
      })),
    Services: new Map(
      services
        .sort((a, b) => byName(a.spec.name, b.spec.name))
        .map((service) => [service.spec.name, serviceOn(network, service, tasks, nodes, pathOf)]),
    ),
  };
}

function serviceOn(
  network: Network,
  service: Service,
  tasks: readonly Task[],
  nodes: readonly Node[],
  pathOf: (node: Node | undefined) => string,
) {
  const address = service.virtualIps.find(({ networkId }) => networkId === network.id);
  return {
    VIP: address?.ipv4 ?? '',
    ...(address?.ipv6 === undefined ? {} : { VIP6: address.ipv6 }),
    Ports: service.ports.map(portWords),
    Tasks: tasks
      .filter(({ serviceId }) => serviceId === service.id)
      .map((task) => {
        const node = nodes.find(({ id }) => id === task.nodeId);
        const own = addressOn(task, network);
        return {
          Name: taskName(task, service),
          EndpointID: task.id,
          EndpointIP: own?.ipv4 ?? '',
          ...(own?.ipv6 === undefined ? {} : { EndpointIP6: own.ipv6 }),
          Info: {
            'Host IP': pathOf(node),
            Node: node?.description.hostname ?? task.nodeId,
            MAC: macAddressOf(task, network),
          },
        };
      }),
  };
}
