import { mkdir, rm, writeFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join as joinPath } from 'node:path';
import { TsswarmError } from '../../../base/errors.ts';
import { parseJoinToken } from '../../../base/join-token.ts';
import type { NodeAvailability } from '../../../proto/types/index.ts';
import { openNode, tryOpenNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { joinRequestPath } from '../../local-node/join-request.ts';
import type { JoinRequest } from '../../local-node/join-request.ts';
import { startNode } from '../../local-node/start.ts';
import type { Terminal } from '../../terminal/index.ts';
import { checkAdvertised } from '../advertised.ts';
import { daemonFlags } from './init.ts';
import type { StartNodeOptions } from './init.ts';
import { isMember } from './member.ts';

export interface JoinOptions extends StartNodeOptions {
  readonly token: string;
  readonly availability: string;
}

const PORT = 2377;

/** Starts a node on this machine that joins the cluster of the manager at `address`. */
export async function join(place: NodePlace, address: string, options: JoinOptions, terminal: Terminal): Promise<void> {
  const request = requestOf(address, options);
  const running = await tryOpenNode(place);
  running?.close();
  if (running !== undefined || isMember(place.stateDir)) {
    throw new TsswarmError('ALREADY_EXISTS', 'joining a cluster: this node is already part of one', {
      hint: 'to change its role: tsswarm node promote (or demote) on a manager; to join another cluster: tsswarm leave first; to start it when it is stopped: tsswarm init',
    });
  }
  const note = await checkAdvertised(options.advertiseAddr);
  await mkdir(place.stateDir, { recursive: true, mode: 0o711 });
  await writeFile(joinRequestPath(place.stateDir), JSON.stringify(request), { mode: 0o600 });
  try {
    await startNode({ place, flags: daemonFlags(options), useSystemd: options.systemd });
  } catch (error) {
    // Half a member is worse than none: the next try begins anew.
    for (const name of ['join.json', 'identity', 'cluster.json', 'manager'])
      await rm(joinPath(place.stateDir, name), { recursive: true, force: true });
    throw error;
  }
  const node = await openNode(place);
  try {
    const { role } = await node.daemon.status({});
    terminal.out(`This node joined a swarm as a ${role}.\n`);
    terminal.err(note);
  } finally {
    node.close();
  }
}

/** @throws INVALID_INPUT before anything is started */
function requestOf(text: string, { token, availability }: JoinOptions): JoinRequest {
  parseJoinToken(token);
  if (!['active', 'pause', 'drain'].includes(availability))
    throw new TsswarmError('INVALID_INPUT', `using --availability "${availability}": expected active, pause or drain`);
  const [, bracketed, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const ipv6 = isIPv6(text) ? text : bracketed;
  const host = ipv6 === undefined ? plain : `[${ipv6}]`;
  if (host === undefined)
    throw new TsswarmError('INVALID_INPUT', `joining "${text}": expected <host>[:<port>] of a manager`, {
      hint: 'as "tsswarm join-token" prints it on a manager',
    });
  return { address: `${host}:${port ?? PORT}`, token, availability: availability as NodeAvailability };
}
