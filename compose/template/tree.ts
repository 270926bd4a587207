import type { SourceLocation } from '../../base/errors.ts';
import type { MapEntry, TreeNode } from '../types/node.ts';
import type { Lookup } from './interpolate.ts';
import { interpolate } from './interpolate.ts';

/** A tree with every text value interpolated; keys never are. */
export function interpolateTree(
  node: TreeNode,
  lookup: Lookup,
  onUnset: (name: string, where: SourceLocation) => void,
): TreeNode {
  switch (node.kind) {
    case 'scalar': {
      if (typeof node.value !== 'string' || !node.value.includes('$')) return node;
      return { ...node, value: interpolate(node.value, { lookup, onUnset, where: node.where }) };
    }
    case 'list':
      return { ...node, items: node.items.map((item) => interpolateTree(item, lookup, onUnset)) };
    case 'map': {
      const entries = new Map<string, MapEntry>();
      for (const [key, entry] of node.entries) {
        entries.set(key, { keyWhere: entry.keyWhere, node: interpolateTree(entry.node, lookup, onUnset) });
      }
      return { ...node, entries };
    }
  }
}
