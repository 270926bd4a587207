import { TsswarmError } from '../../base/errors.ts';
import type { Path, TreeNode } from '../types/node.ts';
import { formatPath, plainValue } from '../types/node.ts';
import { accepts } from './gen/accepts.js';
import { NOT_HONOURED_YET } from './keys.ts';

/**
 * Refuses a file that is not a compose file, and keys that are not honoured yet.
 * @throws INVALID_COMPOSE or NOT_SUPPORTED with the place of the first fault
 */
export async function validateTree(root: TreeNode): Promise<void> {
  if (root.kind !== 'map') {
    throw new TsswarmError('INVALID_COMPOSE', 'reading the compose file: its top level is not a map', {
      where: root.where,
      hint: 'it has at least a "services:" map',
    });
  }
  if (!accepts(plainValue(root))) throw (await import('./explain.ts')).explainFault(root);
  refuseNotHonoured(root);
}

/** Where each level of {@link NOT_HONOURED_YET} stands in the tree. */
const LEVELS: readonly (readonly [string, string])[] = [
  ['top', ''],
  ['service', 'services.*'],
  ['build', 'services.*.build'],
  ['deploy', 'services.*.deploy'],
  ['reservations', 'services.*.deploy.resources.reservations'],
  ['attachment', 'services.*.networks.*'],
  ['network', 'networks.*'],
  ['ipamConfig', 'networks.*.ipam.config.*'],
  ['file', 'secrets.*'],
  ['file', 'configs.*'],
];

function refuseNotHonoured(root: TreeNode): void {
  for (const [level, pattern] of LEVELS) {
    for (const [path, node] of find(root, pattern === '' ? [] : pattern.split('.'))) {
      if (node.kind !== 'map') continue;
      for (const key of NOT_HONOURED_YET[level] ?? []) {
        const entry = node.entries.get(key);
        if (entry === undefined || (entry.node.kind === 'scalar' && entry.node.value === null)) continue;
        throw new TsswarmError(
          'NOT_SUPPORTED',
          `"${formatPath([...path, key])}" is not supported yet by this version`,
          {
            where: entry.keyWhere,
            hint: 'remove the key; nothing of the project was changed',
          },
        );
      }
    }
  }
}

function* find(node: TreeNode, pattern: readonly string[], path: Path = []): Iterable<readonly [Path, TreeNode]> {
  const [first, ...rest] = pattern;
  if (first === undefined) {
    yield [path, node];
  } else if (node.kind === 'map') {
    for (const [key, entry] of node.entries)
      if (first === '*' || first === key) yield* find(entry.node, rest, [...path, key]);
  } else if (node.kind === 'list' && first === '*') {
    for (const [index, item] of node.items.entries()) yield* find(item, rest, [...path, index]);
  }
}
