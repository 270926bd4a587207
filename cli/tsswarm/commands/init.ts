import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { startNode } from '../../local-node/start.ts';
import type { Terminal } from '../../terminal/index.ts';
import { isMember } from './member.ts';

export interface InitOptions {
  readonly nodeName?: string;
  readonly cgroupParent?: string;
  readonly addressPool?: readonly string[];
  readonly logLevel?: string;
  readonly advertiseAddr?: string;
  readonly listenAddr?: string;
  readonly systemd: boolean;
}

/** Starts the node, waits until it answers, and says what Docker says after `swarm init`. */
export async function init(place: NodePlace, options: InitOptions, terminal: Terminal): Promise<void> {
  const known = isMember(place.stateDir);
  const started = await startNode({ place, flags: daemonFlags(options), useSystemd: options.systemd });
  const node = await openNode(place);
  try {
    const status = await node.daemon.status({});
    if (status.role !== 'manager' || known) {
      terminal.out(`Node started again: ${status.nodeId}, a ${status.role} of its cluster.

State: ${place.stateDir}
Log:   ${started.log}
`);
      return;
    }
    const [{ cluster }, { managers }] = await Promise.all([
      node.control.getCluster({}),
      node.membership.listManagers({}),
    ]);
    const address = managers.find(({ nodeId }) => nodeId === status.nodeId)?.address ?? '';
    terminal.out(`Swarm initialized: current node (${status.nodeId}) is now a manager.

To add a worker to this swarm, run the following command:

    tsswarm join --token ${cluster.joinTokens.worker} ${address}

To add a manager to this swarm, run 'tsswarm join-token manager' and follow the instructions.

State: ${place.stateDir}
Log:   ${started.log}
Next:  tscompose up -d
`);
  } finally {
    node.close();
  }
}

/** The daemon's flags for what `init` was given. */
export function daemonFlags(options: InitOptions): readonly string[] {
  const flags: string[] = [];
  if (options.cgroupParent !== undefined) flags.push('--cgroup-parent', options.cgroupParent);
  if (options.nodeName !== undefined) flags.push('--node-name', options.nodeName);
  for (const pool of options.addressPool ?? []) flags.push('--address-pool', pool);
  if (options.listenAddr !== undefined) flags.push('--listen-addr', options.listenAddr);
  if (options.advertiseAddr !== undefined) flags.push('--advertise-addr', options.advertiseAddr);
  if (options.logLevel !== undefined) flags.push('--log-level', options.logLevel);
  return flags;
}
