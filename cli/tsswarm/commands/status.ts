import { openNode } from '../../local-node/index.ts';
import type { NodeClient, NodePlace } from '../../local-node/index.ts';
import { durationWords } from '../../render/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import { isoSeconds, spanWords } from '../../../base/clock-skew.ts';
import { DEFAULT_CERT_EXPIRY_MS, DEFAULT_REVISION_LIMIT, heartbeatMs } from '../../../manager/cluster/spec.ts';
import type { Cluster, DaemonStatusResponse, GetCaResponse } from '../../../proto/types/index.ts';

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
    const manages = answer.role === 'manager' && !answer.locked;
    const cluster = manages ? await clusterLines(node, answer.store?.problem ?? '') : undefined;
    terminal.out(renderStatus(answer, cluster, place.socket, Date.now()));
  } finally {
    node.close();
  }
}

const LOCKED: readonly (readonly [string, string])[] = [
  ['Locked', 'yes: its containers run, its manager needs the unlock key'],
  ['', 'run "tsswarm unlock"; another manager prints the key: tsswarm unlock-key'],
];

type Line = readonly [string, string];

/** What only the leader knows; where nobody leads, that is what the user came to see. */
async function clusterLines(node: NodeClient, problem: string): Promise<readonly Line[]> {
  if (problem !== '') return [['Projects', 'unknown: the store cannot be used']];
  try {
    const [{ projects }, { cluster }, { nodes }, ca] = await Promise.all([
      node.control.listObjects({ project: '' }),
      node.control.getCluster({}),
      node.control.listNodes({}),
      node.membership.getCa({}),
    ]);
    return [
      ['Projects', String(projects.length)],
      ...caLines(cluster, ca),
      ['Settings', settingsOf(cluster, nodes.length)],
    ];
  } catch (error) {
    if (!isTsswarmError(error, 'UNAVAILABLE')) throw error;
    return [['Projects', `unknown: ${error.message.replace(/^asking the leader: /, '')}`]];
  }
}

/** Who signs certificates, where that is not simply the managers. */
function caLines({ spec }: Cluster, { rotation }: GetCaResponse): readonly Line[] {
  const done = rotation?.nodes.filter((one) => one.done).length ?? 0;
  return [
    ...(spec.externalCas ?? []).map(({ url }): Line => ['CA', url]),
    ...(rotation === undefined
      ? []
      : [
          [
            'CA',
            `a rotation is under way, ${done}/${rotation.nodes.length} nodes use the new root: see tsswarm ca`,
          ] as const,
        ]),
  ];
}

function settingsOf(cluster: Cluster, nodes: number): string {
  const {
    taskHistoryLimit,
    revisionLimit,
    nodeCertExpiryMs,
    removeDeadManagersMs = 0,
    externalCas = [],
  } = cluster.spec;
  return [
    `task history ${taskHistoryLimit}`,
    `revisions ${revisionLimit ?? DEFAULT_REVISION_LIMIT}`,
    `heartbeat ${spanWords(heartbeatMs(cluster, nodes))}`,
    ...(externalCas.length > 0 ? [] : [`certificates for ${spanWords(nodeCertExpiryMs ?? DEFAULT_CERT_EXPIRY_MS)}`]),
    ...(removeDeadManagersMs === 0 ? [] : [`dead managers lose their vote after ${spanWords(removeDeadManagersMs)}`]),
    ...(cluster.spec.autoLock === true ? ['autolock'] : []),
  ].join(', ');
}

/** How the node stands with its cluster, where it may be the reason of something. */
function identityLines({ identity }: DaemonStatusResponse): readonly Line[] {
  if (identity === undefined) return [];
  const { expiresAt, renewalProblem, managerProblem } = identity;
  return [
    [
      'Identity',
      `certificate until ${isoSeconds(expiresAt)}${renewalProblem === '' ? '' : `, not renewed: ${renewalProblem}`}`,
    ],
    ...(managerProblem === '' ? [] : [['Managers', `none can be used: ${managerProblem}`] as const]),
  ];
}

/**
 * @param ofCluster absent: the node is no manager
 * @param now wall time, ms
 */
export function renderStatus(
  answer: DaemonStatusResponse,
  ofCluster: readonly Line[] | undefined,
  socket: string,
  now: number,
): string {
  const ofManager: readonly Line[] = ofCluster === undefined ? [] : [...storeLines(answer), ...ofCluster];
  const lines: readonly Line[] = [
    ['Node', `${answer.nodeId} (${answer.hostname})`],
    ['Cluster', answer.clusterId],
    ['Role', answer.raftState === '' ? answer.role : `${answer.role}, ${answer.raftState}`],
    ...(answer.locked ? LOCKED : []),
    ...identityLines(answer),
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
