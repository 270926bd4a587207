import type { SourceLocation } from '../../base/errors.ts';

/** What a YAML tag asks the merge to do with a value. */
export type MergeTag = 'reset' | 'override';

interface Located {
  readonly where: SourceLocation;
  readonly tag?: MergeTag;
}

export interface ScalarNode extends Located {
  readonly kind: 'scalar';
  readonly value: string | number | boolean | null;
}

export interface ListNode extends Located {
  readonly kind: 'list';
  readonly items: readonly TreeNode[];
}

export interface MapNode extends Located {
  readonly kind: 'map';
  readonly entries: ReadonlyMap<string, MapEntry>;
}

/** A key with its own place: an error about a key points at the key, one about a value at the value. */
export interface MapEntry {
  readonly keyWhere: SourceLocation;
  readonly node: TreeNode;
}

/** A YAML value with its place in a file. Aliases and merge keys are resolved. */
export type TreeNode = ScalarNode | ListNode | MapNode;

/** A way down a tree: keys of maps, indexes of lists. Keys may hold any character, so a path is never a string. */
export type Path = readonly (string | number)[];

/** `services.web.ports[0]`, for people. */
export function formatPath(path: Path): string {
  let text = '';
  for (const part of path) text += typeof part === 'number' ? `[${part}]` : text === '' ? part : `.${part}`;
  return text;
}

/** The plain JavaScript value of a tree. */
export function plainValue(node: TreeNode): unknown {
  switch (node.kind) {
    case 'scalar':
      return node.value;
    case 'list':
      return node.items.map(plainValue);
    case 'map':
      return Object.fromEntries([...node.entries].map(([key, { node: value }]) => [key, plainValue(value)]));
  }
}

/** The place of the deepest part of `path` that the tree has; `atKey`: of the key rather than its value. */
export function locate(root: TreeNode, path: Path, atKey = false): SourceLocation {
  let node = root;
  let where = root.where;
  for (const [depth, part] of path.entries()) {
    if (node.kind === 'map') {
      const entry = node.entries.get(String(part));
      if (entry === undefined) return where;
      node = entry.node;
      where = (atKey && depth === path.length - 1) || node.kind !== 'scalar' ? entry.keyWhere : node.where;
    } else if (node.kind === 'list') {
      const item = node.items[Number(part)];
      if (item === undefined) return where;
      node = item;
      where = item.where;
    } else return where;
  }
  return where;
}
