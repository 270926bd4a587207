import { instanceName, openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { startNode } from '../../local-node/start.ts';
import type { Terminal } from '../../terminal/index.ts';

export interface InitOptions {
  readonly nodeName?: string;
  readonly cgroupParent?: string;
  readonly addressPool?: readonly string[];
  readonly logLevel?: string;
  readonly systemd: boolean;
}

/** Starts the node, waits until it answers, and says what Docker says after `swarm init`. */
export async function init(place: NodePlace, options: InitOptions, terminal: Terminal): Promise<void> {
  const started = await startNode({ place, flags: daemonFlags(place, options), useSystemd: options.systemd });
  const node = await openNode(place);
  try {
    const [status, { cluster }] = await Promise.all([node.daemon.status({}), node.control.getCluster({})]);
    const address = status.hostname;
    terminal.out(`Swarm initialized: current node (${status.nodeId}) is now a manager.

To add a worker to this swarm, run the following command:

    tsswarm join --token ${cluster.joinTokens.worker} ${address}:2377

To add a manager, run "tsswarm join-token manager" and follow the instructions.
Joining is not in this version yet: for now the cluster is this one machine.

State: ${place.stateDir}
Log:   ${started.log}
Next:  tscompose up -d
`);
  } finally {
    node.close();
  }
}

/** The daemon's flags for what `init` was given. */
export function daemonFlags(place: NodePlace, options: InitOptions): readonly string[] {
  const flags = ['--cgroup-parent', options.cgroupParent ?? instanceName(place)];
  if (options.nodeName !== undefined) flags.push('--node-name', options.nodeName);
  for (const pool of options.addressPool ?? []) flags.push('--address-pool', pool);
  if (options.logLevel !== undefined) flags.push('--log-level', options.logLevel);
  return flags;
}
