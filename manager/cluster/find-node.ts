import { TsswarmError } from '../../base/errors.ts';
import type { Node } from '../../proto/types/index.ts';
import type { ReadTransaction } from '../store/types.ts';

/**
 * The node that a user means: by its id, the beginning of one, or a host name that only one node has.
 * @throws NOT_FOUND, CONFLICT when several are meant
 */
export function findNode(tx: ReadTransaction, name: string): Node {
  return pickNode(tx.list('node'), name);
}

/** {@link findNode} in a list. */
export function pickNode(nodes: readonly Node[], name: string): Node {
  const exact = nodes.find(({ id }) => id === name);
  if (exact !== undefined) return exact;
  const named = nodes.filter(({ description }) => description.hostname === name);
  const found = named.length > 0 || name === '' ? named : nodes.filter(({ id }) => id.startsWith(name));
  const [only] = found;
  if (only !== undefined && found.length === 1) return only;
  if (only === undefined)
    throw new TsswarmError('NOT_FOUND', `finding the node "${name}": there is none`, { hint: 'see tsswarm node ls' });
  throw new TsswarmError('CONFLICT', `finding the node "${name}": ${found.length} nodes are meant`, {
    hint: `name one of ${found.map(({ id }) => id).join(', ')}`,
  });
}
