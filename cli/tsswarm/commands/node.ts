import { TsswarmError } from '../../../base/errors.ts';
import type { NodeAvailability, NodeRole } from '../../../proto/types/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { idOf, withNode } from '../nodes/with-node.ts';

/** `tsswarm node promote` and `demote`, in Docker's words. */
export function setRole(place: NodePlace, names: readonly string[], role: NodeRole, terminal: Terminal): Promise<void> {
  return withNode(place, async (node) => {
    for (const name of names) {
      const { nodeId, changed } = await node.membership.updateNode({
        node: await idOf(node, name),
        role,
        addLabels: {},
        removeLabels: [],
      });
      const done = role === 'manager' ? 'promoted to a manager in the swarm' : 'demoted in the swarm';
      terminal.out(changed ? `Node ${nodeId} ${done}.\n` : `Node ${nodeId} is already a ${role}.\n`);
    }
  });
}

export interface NodeUpdateOptions {
  readonly availability?: string;
  readonly role?: string;
  readonly labelAdd?: readonly string[];
  readonly labelRm?: readonly string[];
}

/** `tsswarm node update`: prints the id, as Docker does. */
export function updateNode(
  place: NodePlace,
  name: string,
  { availability, role, labelAdd = [], labelRm = [] }: NodeUpdateOptions,
  terminal: Terminal,
): Promise<void> {
  const addLabels = Object.fromEntries(
    labelAdd.map((label) => {
      const [, key, value = ''] = /^([^=]+)(?:=(.*))?$/s.exec(label) ?? [];
      if (key !== undefined) return [key, value];
      throw new TsswarmError('INVALID_INPUT', `using --label-add "${label}": expected <key>=<value>`);
    }),
  );
  return withNode(place, async (node) => {
    const { nodeId } = await node.membership.updateNode({
      node: await idOf(node, name),
      // What is no such word is refused there, with the words that are.
      ...(role === undefined ? {} : { role: role as NodeRole }),
      ...(availability === undefined ? {} : { availability: availability as NodeAvailability }),
      addLabels,
      removeLabels: labelRm,
    });
    terminal.out(`${nodeId}\n`);
  });
}

/** `tsswarm node rm`: prints the ids, as Docker does. */
export function removeNodes(
  place: NodePlace,
  names: readonly string[],
  { force = false }: { readonly force?: boolean },
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    for (const name of names) terminal.out(`${(await node.membership.removeNode({ node: name, force })).nodeId}\n`);
  });
}
