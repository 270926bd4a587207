import type { NodePlace } from '../../local-node/index.ts';
import { renderList } from '../../render/format.ts';
import type { Column } from '../../render/format.ts';
import type { Terminal } from '../../terminal/index.ts';
import type { GetCaResponse, ManagerMember, Node } from '../../../proto/types/index.ts';
import { filterNodes } from '../nodes/filters.ts';
import { tlsStatus } from '../nodes/inspect.ts';
import { withNode } from '../nodes/with-node.ts';
import { byName, capital } from '../nodes/words.ts';

export interface NodeListOptions {
  readonly quiet?: boolean;
  readonly filter?: readonly string[];
  readonly format?: string;
}

const COLUMNS: readonly Column[] = [
  { name: 'ID', heading: 'ID' },
  { name: 'Hostname', heading: 'HOSTNAME' },
  { name: 'Status', heading: 'STATUS' },
  { name: 'Availability', heading: 'AVAILABILITY' },
  { name: 'ManagerStatus', heading: 'MANAGER STATUS' },
  { name: 'EngineVersion', heading: 'ENGINE VERSION' },
  { name: 'TLSStatus', heading: 'TLS STATUS', hidden: true },
  { name: 'Self', heading: 'SELF', hidden: true },
];

/** `tsswarm node ls`: lists the nodes of the cluster. */
export function nodes(place: NodePlace, options: NodeListOptions, terminal: Terminal): Promise<void> {
  return withNode(place, async (node) => {
    const [{ nodes: all }, { managers }, { nodeId }, ca] = await Promise.all([
      node.control.listNodes({}),
      node.membership.listManagers({}),
      node.daemon.status({}),
      node.membership.getCa({}),
    ]);
    const shown = [...filterNodes(all, options.filter ?? [])].sort(
      (a, b) => byName(a.description.hostname, b.description.hostname) || byName(a.id, b.id),
    );
    if (options.quiet === true && options.format === undefined) for (const { id } of shown) terminal.out(`${id}\n`);
    else terminal.out(renderNodes(shown, managers, nodeId, ca, options.format));
  });
}

/**
 * As `docker node ls`.
 * @param ownId the node that was asked: it is marked
 */
export function renderNodes(
  all: readonly Node[],
  managers: readonly ManagerMember[],
  ownId: string,
  ca: GetCaResponse,
  format?: string,
): string {
  const table = format === undefined || format === '' || format === 'table';
  const rows = all.map((node) => {
    const { id, description, status, spec } = node;
    return {
      ID: table && id === ownId ? `${id} *` : id,
      Hostname: description.hostname,
      Status: capital(status.state),
      Availability: capital(spec.availability),
      ManagerStatus: managerStatus(managers.find(({ nodeId }) => nodeId === id)),
      EngineVersion: description.engine.version,
      TLSStatus: tlsStatus(node, ca),
      Self: id === ownId,
    };
  });
  return renderList(format, COLUMNS, rows);
}

function managerStatus(member: ManagerMember | undefined): string {
  if (member === undefined) return '';
  if (member.leader) return 'Leader';
  return member.reachable ? 'Reachable' : 'Unreachable';
}
