/** Looks for faults in the network of this node, as `tsswarm network doctor` shows them. Nothing is changed. */
import { readFileSync } from 'node:fs';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Engine } from '../../node-engine/types.ts';
import { macOf } from '../../node-engine/network/index.ts';
import type { DoctorCheck, NodeOverlay, OverlayPeer } from '../../proto/types/index.ts';
import { containerIdOf } from '../agent/container-id.ts';
import type { Assignments } from '../agent/assignments.ts';
import { parseNameservers } from '../overlay/dns/resolv-conf.ts';
import type { Overlay } from '../overlay/tunnels/index.ts';
import { wantedTunnels } from '../overlay/tunnels/plan.ts';
import { judgeKeys } from './keys.ts';
import {
  broken,
  judgeAddresses,
  judgeBridges,
  judgeFirewall,
  judgeForwarding,
  judgeRoutes,
  judgeTunnels,
  networksInUse,
  skipped,
} from './judge.ts';
import { probeManagers, probeNameservers, probeTunnels } from './probe.ts';

export interface DoctorOptions {
  readonly nodeId: NodeId;
  readonly engine: Pick<Engine, 'containers' | 'networks' | 'tunnels'>;
  readonly assignments: () => Assignments;
  /** How others reach this node; undefined: they do not. */
  readonly overlay: () => NodeOverlay | undefined;
  /** The encrypted way, as it is now; undefined: the node has no overlay networks. */
  readonly secure: () => ReturnType<Overlay['secure']> | undefined;
  readonly clock: Pick<Clock, 'now'>;
  /** "host:port" of each. */
  readonly managers: () => readonly string[];
  /** The node's /etc/resolv.conf. */
  readonly resolvConf: string;
}

/** @param peers all nodes, this one too; they answer at the same time: the way to them is tried. Empty: it is not */
export async function examine(
  options: DoctorOptions,
  peers: readonly OverlayPeer[],
  signal: AbortSignal,
): Promise<readonly DoctorCheck[]> {
  const told = options.assignments();
  const { containers } = options.engine;
  const runs = (id: string): boolean => containers.inspect(containerIdOf(id))?.state === 'running';
  const assignments = { ...told, tasks: new Map([...told.tasks].filter(([id]) => runs(id))) };
  const [local, managers, dns, paths] = await Promise.all([
    examineNode(options, assignments),
    probeManagers(options.managers()),
    probeNameservers(parseNameservers(readIfThere(options.resolvConf))),
    peers.length > 0 ? examinePaths(options, peers, signal) : [],
  ]);
  return [...local, ...managers, ...paths, ...dns];
}

async function examineNode(
  { nodeId, engine, overlay, secure, clock }: DoctorOptions,
  assignments: Assignments,
): Promise<readonly DoctorCheck[]> {
  if (engine.networks.survey === undefined) return [skipped('node', '', 'this node shows nothing of its network')];
  try {
    const [survey, tunnels] = await Promise.all([engine.networks.survey(), engine.tunnels?.list() ?? []]);
    const networks = networksInUse(assignments);
    const bridges = new Set(survey.bridges.map(({ id }) => id));
    const known = new Map(tunnels.map((tunnel) => [tunnel.id, tunnel]));
    const way = secure();
    const self = { nodeId, overlay: overlay(), bridges, ...(way?.self === undefined ? {} : { secure: way.self }) };
    const wanted = wantedTunnels(assignments, self, known);
    return [
      ...judgeForwarding(survey),
      ...judgeFirewall(survey),
      ...judgeBridges(networks, survey),
      ...judgeTunnels(wanted, tunnels, survey),
      ...(way === undefined ? [] : judgeKeys(way.rotation, clock.now(), portOf(assignments))),
      ...judgeAddresses(assignments),
      ...judgeRoutes(networks, survey),
    ];
  } catch (error) {
    return [broken('node', '', messageOf(error), 'the daemon needs nft(8) (package "nftables") and to run as root')];
  }
}

/** UDP port of VXLAN. */
const portOf = ({ peers }: Assignments): number => [...peers.values()][0]?.overlay.port ?? 0;

/** Of the tunnel that is made for the packets that try the way; networks have 4096 and more, the mesh has 4095. */
const PROBE_VNI = 4094;
const PROBE_PREFIX = 18;
/** From the mesh's third byte to that of the probe: 169.254.0.0/18. What clouds have at 169.254.169–170 stays reachable. */
const PROBE_DISTANCE = 192;

/** The ways to all other nodes, whether this one shares something with them or not, through a tunnel that is there only meanwhile. */
async function examinePaths(
  { nodeId, engine: { tunnels, networks }, overlay }: DoctorOptions,
  peers: readonly OverlayPeer[],
  signal: AbortSignal,
): Promise<readonly DoctorCheck[]> {
  const own = probeAddress(peers.find((peer) => peer.nodeId === nodeId));
  const local = overlay()?.address;
  const neighbours = peers.flatMap((peer) => {
    const address = probeAddress(peer);
    return peer.nodeId === nodeId || address === undefined
      ? []
      : [{ nodeId: peer.nodeId, address, underlay: peer.overlay.address }];
  });
  const port = peers[0]?.overlay.port ?? 0;
  if (tunnels === undefined || own === undefined || local === undefined || port === 0)
    return [skipped('path', '', 'this node has no address that others reach')];
  if (neighbours.length === 0) return [skipped('path', '', 'there is no other node')];
  try {
    const address = `${own}/${PROBE_PREFIX}`;
    await tunnels.ensure({ id: 'probe', name: 'probe', vni: PROBE_VNI, port, local, address });
    const put = neighbours.map(({ address: ipv4, underlay }) => ({ ipv4, mac: macOf(ipv4), peer: underlay }));
    await tunnels.change('probe', { remove: [], put });
    const mtu = (await networks.survey?.())?.probeMtu ?? 0;
    return await probeTunnels(own, { mtu, port }, neighbours, signal);
  } catch (error) {
    const message = `the way to other nodes cannot be tried: ${messageOf(error)}`;
    return [broken('path', '', message, 'see what else of this node is broken, and its log')];
  } finally {
    await tunnels.remove('probe');
  }
}

function probeAddress(peer: OverlayPeer | undefined): string | undefined {
  const [a, b, c, d] = (peer?.meshAddress ?? '').split('.').map(Number);
  return c === undefined || d === undefined ? undefined : [a, b, c - PROBE_DISTANCE, d].join('.');
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
