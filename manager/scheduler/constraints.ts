import type { Node } from '../../proto/types/index.ts';

const FORM = /^\s*([\w.-]+)\s*(==|!=)\s*(.+?)\s*$/;

/** Whether `text` has the form of a placement constraint: key, == or !=, value. */
export const isConstraint = (text: string): boolean => FORM.test(text);

/** Whether a node satisfies a constraint. Values compare without regard to case; an unknown key matches nothing (swarmkit). */
export function matchesConstraint(text: string, node: Node): boolean {
  const [, key = '', operator, expected = ''] = FORM.exec(text) ?? [];
  const actual = valueOf(key, node);
  if (actual === undefined) return operator === '!=' && key.includes('labels.');
  const equal = actual.toLowerCase() === expected.toLowerCase();
  return operator === '==' ? equal : !equal;
}

function valueOf(key: string, node: Node): string | undefined {
  if (key.startsWith('node.labels.')) return node.spec.labels[key.slice('node.labels.'.length)];
  if (key.startsWith('engine.labels.')) return node.description.engine.labels[key.slice('engine.labels.'.length)];
  const values: Readonly<Record<string, string>> = {
    'node.id': node.id,
    'node.hostname': node.description.hostname,
    'node.role': node.spec.role,
    'node.platform.os': node.description.platform.os,
    'node.platform.arch': node.description.platform.architecture,
  };
  return values[key];
}
