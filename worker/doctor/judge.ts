/** What is wrong with the network of a node, from what was seen of it: each function looks for one kind of fault. Pure. */
import { readIpSubnet, subnetsOverlap } from '../../base/ip-address.ts';
import type { NetworkSurvey, TunnelEntry, TunnelId } from '../../node-engine/types.ts';
import type { DoctorCheck, Network } from '../../proto/types/index.ts';
import type { Assignments } from '../agent/assignments.ts';
import type { WantedTunnel } from '../overlay/tunnels/plan.ts';
import { changeOf } from '../overlay/tunnels/plan.ts';

type Check = DoctorCheck;

export const ok = (name: string, subject: string, message: string): Check => ({
  name,
  subject,
  status: 'ok',
  message,
  hint: '',
});
export const broken = (name: string, subject: string, message: string, hint: string): Check => ({
  name,
  subject,
  status: 'broken',
  message,
  hint,
});
export const skipped = (name: string, subject: string, message: string): Check => ({
  name,
  subject,
  status: 'skipped',
  message,
  hint: '',
});

/** Networks of containers that run here, as far as they are bridges. @param tasks those that run */
export function networksInUse({ tasks, networks }: Pick<Assignments, 'tasks' | 'networks'>): readonly Network[] {
  const used = new Set<string>();
  for (const { addresses } of tasks.values()) for (const { networkId } of addresses) used.add(networkId);
  return [...networks.values()].filter(({ id, spec }) => used.has(id) && BRIDGED.has(spec.driver));
}

const BRIDGED: ReadonlySet<string> = new Set(['bridge', 'overlay']);
const MENDING =
  'the daemon makes it anew when something changes; restart it ("systemctl restart tsswarmd") to have it at once';

export function judgeForwarding({ forwarding, bridges }: NetworkSurvey): readonly Check[] {
  if (bridges.length === 0) return [skipped('forwarding', '', 'no network is on this node')];
  if (forwarding) return [ok('forwarding', '', 'the kernel forwards IPv4')];
  const hint = 'sysctl -w net.ipv4.ip_forward=1, and look in /etc/sysctl.d who turns it off';
  return [broken('forwarding', '', 'the kernel does not forward IPv4: containers reach nobody outside', hint)];
}

export function judgeFirewall({ drops }: NetworkSurvey): readonly Check[] {
  if (drops.length === 0) return [ok('firewall', '', 'no other firewall drops what containers send or get')];
  return drops.map(({ chain, out, into }) => {
    const rules = [...(out ? ['-i'] : []), ...(into ? ['-o'] : [])];
    const what = out && into ? 'send and get' : out ? 'send' : 'get';
    const hint = `allow it there, for example: ${rules.map((way) => `iptables -I FORWARD ${way} ts-+ -j ACCEPT`).join('; ')}`;
    return broken('firewall', chain, `this chain drops what containers ${what}`, hint);
  });
}

export function judgeBridges(networks: readonly Network[], { bridges, ruled }: NetworkSurvey): readonly Check[] {
  return networks.flatMap((network): readonly Check[] => {
    const { name } = network.spec;
    const bridge = bridges.find(({ id }) => id === network.id);
    if (bridge === undefined) return [broken('bridge', name, 'its bridge is missing on this node', MENDING)];
    const address = `${network.gateway}/${network.subnet.split('/')[1] ?? ''}`;
    const faults: Check[] = [];
    if (!bridge.up)
      faults.push(broken('bridge', name, `its bridge "${bridge.name}" is down`, `ip link set ${bridge.name} up`));
    if (!bridge.addresses.includes(address)) {
      const hint = `ip address add ${address} dev ${bridge.name}`;
      faults.push(broken('bridge', name, `its bridge "${bridge.name}" lacks the gateway's address ${address}`, hint));
    }
    if (ruled?.includes(bridge.name) !== true) {
      const what =
        ruled === undefined ? 'the rules of this node are gone' : `no rule knows its bridge "${bridge.name}"`;
      faults.push(broken('rules', name, what, `somebody flushed them; ${MENDING}`));
    }
    return faults.length > 0 ? faults : [ok('bridge', name, `bridge "${bridge.name}" with ${address} and its rules`)];
  });
}

/** @param wanted what the assignments ask for @param present what the kernel has @param survey who else has tunnels */
export function judgeTunnels(
  wanted: ReadonlyMap<TunnelId, WantedTunnel>,
  present: readonly { readonly id: TunnelId; readonly entries: readonly TunnelEntry[] }[],
  { foreignTunnels }: Pick<NetworkSurvey, 'foreignTunnels'>,
): readonly Check[] {
  return [...wanted].map(([id, { request, entries }]) => {
    const subject = id === 'mesh' ? 'mesh' : request.name;
    const found = present.find((tunnel) => tunnel.id === id);
    const clash = foreignTunnels.find(({ vni, port }) => vni === request.vni && port === request.port);
    if (found === undefined && clash !== undefined)
      return broken(
        'tunnel',
        subject,
        `the interface "${clash.name}" of somebody else has its VXLAN identifier (VNI ${clash.vni}, UDP port ${clash.port})`,
        `see "ip -details link show ${clash.name}" who made it: remove it, or make the network anew, which then gets another identifier`,
      );
    if (found === undefined)
      return broken('tunnel', subject, `its VXLAN device (VNI ${request.vni}) is missing on this node`, MENDING);
    const known = new Map(found.entries.map((entry) => [entry.ipv4, entry]));
    const { remove, put } = changeOf(known, entries);
    const stale = remove.filter(({ ipv4 }) => !entries.has(ipv4));
    if (put.length > 0) {
      const [first] = put;
      const what = `${put.length} of ${entries.size} addresses on other nodes cannot be reached, such as ${first?.ipv4 ?? ''}`;
      return broken('entries', subject, `${what}: their forwarding entries are missing or wrong`, MENDING);
    }
    if (stale.length > 0)
      return broken(
        'entries',
        subject,
        `${stale.length} forwarding entries lead to nobody: ${stale[0]?.ipv4 ?? ''}`,
        MENDING,
      );
    return ok('tunnel', subject, `VNI ${request.vni}, ${entries.size} addresses on other nodes`);
  });
}

/** One address that two have. @param assignments with those tasks only that run */
export function judgeAddresses(
  assignments: Pick<Assignments, 'tasks' | 'locations' | 'services' | 'networks'>,
): readonly Check[] {
  const owners = new Map<string, Set<string>>();
  const note = (networkId: string, ip: string, owner: string): void => {
    const key = `${networkId} ${ip}`;
    const known = owners.get(key) ?? new Set<string>();
    owners.set(key, known.add(owner));
  };
  for (const { name, addresses } of assignments.tasks.values())
    for (const { networkId, ipv4 } of addresses) note(networkId, ipv4, `container "${name}"`);
  for (const { taskId, networkId, ipv4 } of assignments.locations.values())
    if (!assignments.tasks.has(taskId)) note(networkId, ipv4, `task ${taskId}`);
  for (const { serviceId, networkId, ipv4 } of assignments.services.values())
    note(networkId, ipv4, `service ${serviceId}`);
  for (const { id, gateway } of assignments.networks.values()) if (gateway !== '') note(id, gateway, 'the gateway');
  const twice = [...owners].filter(([, who]) => who.size > 1);
  if (twice.length === 0) return [ok('addresses', '', `${owners.size} addresses, each with one owner`)];
  return twice.map(([key, who]) => {
    const [networkId = '', ip = ''] = key.split(' ');
    const name = assignments.networks.get(networkId)?.spec.name ?? networkId;
    return broken(
      'addresses',
      name,
      `${ip} belongs to ${[...who].join(' and ')}`,
      'restart one of them: it gets another address',
    );
  });
}

/** Networks whose addresses the node itself uses for something else. */
export function judgeRoutes(networks: readonly Network[], { routes, addresses }: NetworkSurvey): readonly Check[] {
  const faults = networks.flatMap(({ spec, subnet }) => {
    const range = readIpSubnet(subnet);
    if (range === undefined) return [];
    const overlaps = (text: string): boolean => {
      const other = readIpSubnet(text);
      // A wider route, such as a VPN's to all of 10.0.0.0/8, gives way to that of the bridge.
      return other !== undefined && other.prefix >= range.prefix && subnetsOverlap(range, other);
    };
    const hint =
      'give the network another subnet (ipam: config: - subnet: …), or the pools (tsswarm init --address-pool)';
    const own = addresses.find(({ address }) => overlaps(address));
    if (own !== undefined)
      return [
        broken('routes', spec.name, `its subnet ${subnet} overlaps with ${own.address} on "${own.device}"`, hint),
      ];
    const route = routes.find(overlaps);
    return route === undefined
      ? []
      : [broken('routes', spec.name, `its subnet ${subnet} overlaps with the node's route to ${route}`, hint)];
  });
  return faults.length > 0 ? faults : [ok('routes', '', 'no route of the node leads into a network')];
}
