import { TsswarmError, messageOf } from '../../../base/errors.ts';
import type { Node } from '../../../proto/types/index.ts';
import type { NodeClient, NodePlace } from '../../local-node/index.ts';
import type { Terminal } from '../../terminal/index.ts';
import { ExitCode } from '../../terminal/program.ts';
import { idOf, withNode } from '../nodes/with-node.ts';
import { byName } from '../nodes/words.ts';

const WORDS = {
  begun: 'a new key is made and told to the others; the old one goes when nobody uses it any more',
  'under-way': 'a rotation is under way already',
  unused: 'no encrypted network leads from it to others: there is no key in use',
} as const;

/**
 * `tsswarm network rotate-keys`: has nodes begin to rotate the keys of encrypted networks. Ends with 1 when one cannot.
 * @param names of nodes, or their ids; none: all nodes, on a worker this one
 */
export function rotateKeys(place: NodePlace, names: readonly string[], terminal: Terminal): Promise<void> {
  return withNode(place, async (client) => {
    const { role, hostname } = await client.daemon.status({});
    if (role !== 'manager' && names.length === 0) {
      const { result } = await client.tasks.rotateKey({ nodeId: '' });
      return terminal.out(`${hostname}: ${WORDS[result]}\n`);
    }
    const ids = await Promise.all(names.map((name) => idOf(client, name)));
    const all = await everybody(client);
    const nodes =
      ids.length === 0 ? all.filter(({ status }) => status.state !== 'down') : ids.map((id) => named(all, id));
    const answers = await Promise.all(nodes.map((node) => rotate(client, node)));
    for (const { text, failed } of answers) {
      if (failed) terminal.err(text);
      else terminal.out(text);
    }
    if (answers.some(({ failed }) => failed)) throw new ExitCode(1);
  });
}

function named(nodes: readonly Node[], name: string): Node {
  const found = nodes.find(({ id, description }) => id === name || description.hostname === name);
  if (found !== undefined) return found;
  throw new TsswarmError('NOT_FOUND', `rotating the key of node "${name}": there is no such node`, {
    hint: 'see "tsswarm node ls"',
  });
}

const everybody = async (client: NodeClient): Promise<readonly Node[]> =>
  [...(await client.control.listNodes({})).nodes].sort((a, b) =>
    byName(a.description.hostname, b.description.hostname),
  );

async function rotate(client: NodeClient, node: Node): Promise<{ readonly text: string; readonly failed: boolean }> {
  const { hostname } = node.description;
  try {
    const { result } = await client.tasks.rotateKey({ nodeId: node.id });
    return { text: `${hostname}: ${WORDS[result]}\n`, failed: false };
  } catch (error) {
    return { text: `${hostname}: ${messageOf(error)}\n`, failed: true };
  }
}
