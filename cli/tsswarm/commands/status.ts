import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { durationWords } from '../../render/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { TsswarmError } from '../../../base/errors.ts';
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
    const [answer, objects] = await Promise.all([node.daemon.status({}), node.control.listObjects({ project: '' })]);
    if (options.format === 'json') terminal.out(`${JSON.stringify(answer)}\n`);
    else terminal.out(renderStatus(answer, objects.projects.length, place.socket, Date.now()));
  } finally {
    node.close();
  }
}

/** @param now wall time, ms */
export function renderStatus(answer: DaemonStatusResponse, projects: number, socket: string, now: number): string {
  const lines: readonly (readonly [string, string])[] = [
    ['Node', `${answer.nodeId} (${answer.hostname})`],
    ['Cluster', answer.clusterId],
    ['Role', answer.raftState === '' ? answer.role : `${answer.role}, ${answer.raftState}`],
    ['Raft', `term ${answer.raftTerm}, commit ${answer.raftCommit}`],
    ['Projects', String(projects)],
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
  return lines.map(([name, value]) => `${`${name}:`.padEnd(12)}${value}\n`).join('');
}
