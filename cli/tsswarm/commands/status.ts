import { openNode } from '../../local-node/index.ts';
import type { NodeClient, NodePlace } from '../../local-node/index.ts';
import { durationWords } from '../../render/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import type { DaemonStatusResponse } from '../../../proto/types/index.ts';

/** Shows how the node is. */
export async function status(
  place: NodePlace,
  options: { readonly format: string },
  terminal: Terminal,
): Promise<void> {
  if (options.format !== 'table' && options.format !== 'json') {
    throw new TsswarmError('INVALID_INPUT', `using format "${options.format}": expected "table" or "json"`);
  }
  const node = await openNode(place);
  try {
    const answer = await node.daemon.status({});
    if (options.format === 'json') return terminal.out(`${JSON.stringify(answer)}\n`);
    const projects =
      answer.role === 'manager' && !answer.locked ? await countProjects(node, answer.store?.problem ?? '') : undefined;
    terminal.out(renderStatus(answer, projects, place.socket, Date.now()));
  } finally {
    node.close();
  }
}

const LOCKED: readonly (readonly [string, string])[] = [
  ['Locked', 'yes: its containers run, its manager needs the unlock key'],
  ['', 'run "tsswarm unlock"; another manager prints the key: tsswarm unlock-key'],
];

/** What only the leader knows; where nobody leads, that is what the user came to see. */
async function countProjects(node: NodeClient, problem: string): Promise<string> {
  if (problem !== '') return 'unknown: the store cannot be used';
  try {
    return String((await node.control.listObjects({ project: '' })).projects.length);
  } catch (error) {
    if (!isTsswarmError(error, 'UNAVAILABLE')) throw error;
    return `unknown: ${error.message.replace(/^asking the leader: /, '')}`;
  }
}

/**
 * @param projects absent: the node is no manager
 * @param now wall time, ms
 */
export function renderStatus(
  answer: DaemonStatusResponse,
  projects: string | undefined,
  socket: string,
  now: number,
): string {
  const ofManager: readonly (readonly [string, string])[] =
    projects === undefined ? [] : [...storeLines(answer), ['Projects', projects]];
  const lines: readonly (readonly [string, string])[] = [
    ['Node', `${answer.nodeId} (${answer.hostname})`],
    ['Cluster', answer.clusterId],
    ['Role', answer.raftState === '' ? answer.role : `${answer.role}, ${answer.raftState}`],
    ...(answer.locked ? LOCKED : []),
    ...ofManager,
    ['Containers', `${answer.containersRunning} running`],
    ['Images', String(answer.images)],
    [
      'Daemon',
      `tsswarmd ${answer.version}, pid ${answer.pid}, up ${durationWords(now - answer.startedAt).toLowerCase()}`,
    ],
    ['Kernel', `${answer.kernel}, cgroup ${answer.cgroup}`],
    ['State', answer.stateDir],
    ['Socket', socket],
  ];
  return lines.map(([name, value]) => `${(name === '' ? '' : `${name}:`).padEnd(12)}${value}\n`).join('');
}

function storeLines({
  store,
  raftTerm,
  raftCommit,
  storeVersion,
}: DaemonStatusResponse): (readonly [string, string])[] {
  if (store?.kind !== 'etcd') return [['Raft', `term ${raftTerm}, commit ${raftCommit}`]];
  return [
    ['Store', `${store.place}, revision ${storeVersion}`],
    ...(store.problem === '' ? [] : [['', `not usable now: ${store.problem}`] as const]),
    ...store.members.map(({ address, version, leader, problem }) => {
      const state =
        version === '' ? problem : [`etcd ${version}`, leader ? 'leads' : '', problem].filter(Boolean).join(', ');
      return ['', `${address}: ${state}`] as const;
    }),
  ];
}
