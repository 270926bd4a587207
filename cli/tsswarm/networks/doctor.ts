import { messageOf } from '../../../base/errors.ts';
import type { DoctorCheck, Node, OverlayPeer } from '../../../proto/types/index.ts';
import type { NodeClient, NodePlace } from '../../local-node/index.ts';
import { renderTable } from '../../render/index.ts';
import type { Style } from '../../render/style.ts';
import type { Terminal } from '../../terminal/index.ts';
import { ExitCode } from '../../terminal/program.ts';
import { withNode } from '../nodes/with-node.ts';
import { byName } from '../nodes/words.ts';

/** A check, with the name of the node that it is about. */
export interface NodeCheck extends DoctorCheck {
  readonly node: string;
}

/** `tsswarm network doctor`: examines all nodes, on a worker this one. Ends with 1 when something is broken. */
export function doctor(place: NodePlace, { json }: { readonly json?: boolean }, terminal: Terminal): Promise<void> {
  return withNode(place, async (node) => {
    const checks = await examineAll(node);
    terminal.out(json === true ? `${JSON.stringify(checks, null, 2)}\n` : renderChecks(checks, terminal.outStyle));
    if (checks.some(({ status }) => status === 'broken')) throw new ExitCode(1);
  });
}

async function examineAll(client: NodeClient): Promise<readonly NodeCheck[]> {
  const { role, nodeId, hostname } = await client.daemon.status({});
  if (role !== 'manager') {
    // A worker knows no others. Nobody answers its probes, so none are sent.
    const { checks } = await client.tasks.doctor({ nodeId: '', probe: false });
    return checks.map((check) => ({ node: hostname || nodeId, ...check }));
  }
  const { nodes } = await client.control.listNodes({});
  const sorted = [...nodes].sort((a, b) => byName(a.description.hostname, b.description.hostname));
  const names = new Map(nodes.map(({ id, description }) => [id as string, description.hostname]));
  const peers = nodes.flatMap(({ id, description: { overlay }, meshAddress }) =>
    overlay === undefined ? [] : [{ nodeId: id, overlay, ...(meshAddress === undefined ? {} : { meshAddress }) }],
  );
  const results = await Promise.all(sorted.map((node) => examine(client, node, peers)));
  return results.flat().map((check) => ({ ...check, subject: names.get(check.subject) ?? check.subject }));
}

async function examine(client: NodeClient, node: Node, peers: readonly OverlayPeer[]): Promise<readonly NodeCheck[]> {
  const { hostname } = node.description;
  const failed = (message: string): readonly NodeCheck[] => [
    { node: hostname, name: 'node', subject: '', status: 'broken', message, hint: 'see "tsswarm node ls"' },
  ];
  if (node.status.state === 'down') return failed(`the node is down: ${node.status.message}`);
  try {
    const { checks } = await client.tasks.doctor({ nodeId: node.id, probe: true, peers });
    return checks.map((check) => ({ node: hostname, ...check }));
  } catch (error) {
    return failed(`the node cannot be asked: ${messageOf(error)}`);
  }
}

const COLOURS = { ok: 'green', broken: 'red', skipped: 'dim' } as const;

/** One line for each check, what to do below it, and how many are broken. */
export function renderChecks(checks: readonly NodeCheck[], style: Style): string {
  const rows = checks.map(({ node, name, subject, status, message }) => [
    node,
    status.toUpperCase(),
    subject === '' ? name : `${name} ${subject}`,
    message,
  ]);
  const [heading = '', ...lines] = renderTable(['NODE', 'RESULT', 'CHECK', 'WHAT'], rows).split('\n');
  const shown = checks.flatMap(({ status, hint }, index) => [
    (lines[index] ?? '').replace(status.toUpperCase(), style(COLOURS[status], status.toUpperCase())),
    ...(hint === '' ? [] : [`  do: ${hint}`]),
  ]);
  const faults = checks.filter(({ status }) => status === 'broken').length;
  const end = faults === 0 ? 'Nothing is broken.' : `${faults} of ${checks.length} checks found something broken.`;
  return `${[heading, ...shown, end].join('\n')}\n`;
}
