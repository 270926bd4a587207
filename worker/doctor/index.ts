/** Looks for faults in the network of this node, as `tsswarm network doctor` shows them. Nothing is changed. */
import { readFileSync } from 'node:fs';
import { messageOf } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Engine } from '../../node-engine/types.ts';
import type { DoctorCheck, NodeOverlay } from '../../proto/types/index.ts';
import { containerIdOf } from '../agent/container-id.ts';
import type { Assignments } from '../agent/assignments.ts';
import { parseNameservers } from '../overlay/dns/resolv-conf.ts';
import { wantedTunnels } from '../overlay/tunnels/plan.ts';
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
  /** "host:port" of each. */
  readonly managers: () => readonly string[];
  /** The node's /etc/resolv.conf. */
  readonly resolvConf: string;
}

/** @param probe other nodes answer at the same time: the way to them is tried */
export async function examine(
  options: DoctorOptions,
  probe: boolean,
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
    probe ? examinePaths(options, assignments, signal) : [],
  ]);
  return [...local, ...managers, ...paths, ...dns];
}

async function examineNode(
  { nodeId, engine, overlay }: DoctorOptions,
  assignments: Assignments,
): Promise<readonly DoctorCheck[]> {
  if (engine.networks.survey === undefined) return [skipped('node', '', 'this node shows nothing of its network')];
  try {
    const [survey, tunnels] = await Promise.all([engine.networks.survey(), engine.tunnels?.list() ?? []]);
    const networks = networksInUse(assignments);
    const bridges = new Set(survey.bridges.map(({ id }) => id));
    const known = new Map(tunnels.map((tunnel) => [tunnel.id, tunnel]));
    const wanted = wantedTunnels(assignments, { nodeId, overlay: overlay(), bridges }, known);
    return [
      ...judgeForwarding(survey),
      ...judgeFirewall(survey),
      ...judgeBridges(networks, survey),
      ...judgeTunnels(wanted, tunnels),
      ...judgeAddresses(assignments),
      ...judgeRoutes(networks, survey),
    ];
  } catch (error) {
    return [broken('node', '', messageOf(error), 'the daemon needs nft(8) (package "nftables") and to run as root')];
  }
}

/** Frame, UDP and VXLAN headers leave so much of an Ethernet frame of 1500 bytes. */
const MESH_MTU = 1450;

async function examinePaths(
  { nodeId, engine }: DoctorOptions,
  { peers }: Assignments,
  signal: AbortSignal,
): Promise<readonly DoctorCheck[]> {
  const own = peers.get(nodeId)?.meshAddress;
  const neighbours = [...peers.values()].flatMap(({ nodeId: id, meshAddress, overlay }) =>
    id === nodeId || meshAddress === undefined ? [] : [{ nodeId: id, address: meshAddress, underlay: overlay.address }],
  );
  if (own === undefined || neighbours.length === 0)
    return [skipped('path', '', 'no tunnel leads from this node to another: it shares nothing with one')];
  try {
    const survey = await engine.networks.survey?.();
    const mtu = survey?.meshMtu ?? MESH_MTU;
    return await probeTunnels(own, mtu, neighbours, signal);
  } catch (error) {
    return [
      broken(
        'path',
        '',
        `the way to other nodes cannot be tried: ${messageOf(error)}`,
        'see the check "tunnel" of the mesh',
      ),
    ];
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
