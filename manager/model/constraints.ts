import { addressTest, parseConstraint } from '../../base/constraint.ts';
import type { Constraint, SpreadLabel } from '../../base/constraint.ts';
import type { Node } from '../../proto/types/index.ts';

/** Docker says x86_64 where Go, and we, say amd64: a constraint may use either (swarmkit does so for platforms). */
const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };

/** A constraint ready to be asked of many nodes. */
export interface NodeTest {
  /** As it was written, spaces left out. */
  readonly text: string;
  readonly matches: (node: Node) => boolean;
}

/** Constraints are few and asked often. */
const tests = new Map<string, NodeTest>();
const MAX_KEPT_TESTS = 1000;

/** Whether a node satisfies a constraint: see {@link nodeTest}. */
export const matchesConstraint = (text: string, node: Node): boolean => nodeTest(text).matches(node);

/** The first of some constraints that a node does not satisfy; undefined: it satisfies all. */
export const unmetConstraint = (constraints: readonly string[], node: Node): string | undefined =>
  constraints.find((text) => !matchesConstraint(text, node));

/**
 * A constraint as a test: values compare without regard to case, labels' names with regard to it, a label that a node does
 * not have is empty. What cannot be read, which only an older version let in, matches nothing (swarmkit, manager/constraint).
 */
export function nodeTest(text: string): NodeTest {
  const known = tests.get(text);
  if (known !== undefined) return known;
  if (tests.size >= MAX_KEPT_TESTS) tests.clear();
  const made = newTest(text);
  tests.set(text, made);
  return made;
}

function newTest(text: string): NodeTest {
  const constraint = parseConstraint(text);
  if (typeof constraint === 'string') return { text: text.trim(), matches: () => false };
  return { text: `${constraint.key}${constraint.operator}${constraint.value}`, matches: matcher(constraint) };
}

function matcher({ key, operator, value }: Constraint): (node: Node) => boolean {
  const wanted = operator === '==';
  if (key === 'node.ip') {
    const test = addressTest(value);
    return (node) => (test?.(hostOf(node.status.address)) ?? false) === wanted;
  }
  const fold = (text: string): string => {
    const lower = text.toLowerCase();
    return key === 'node.platform.arch' ? (ARCHITECTURES[lower] ?? lower) : lower;
  };
  const expected = fold(value);
  return (node) => (fold(valueOf(key, node)) === expected) === wanted;
}

function valueOf(key: string, node: Node): string {
  switch (key) {
    case 'node.id':
      return node.id;
    case 'node.hostname':
      return node.description.hostname;
    case 'node.role':
      return node.spec.role;
    case 'node.platform.os':
      return node.description.platform.os;
    case 'node.platform.arch':
      return node.description.platform.architecture;
    default:
      return labelOf(
        key.startsWith('node.')
          ? { of: 'node', label: key.slice('node.labels.'.length) }
          : { of: 'engine', label: key.slice('engine.labels.'.length) },
        node,
      );
  }
}

/** A label's value on a node; empty when it has none. */
export function labelOf({ of, label }: SpreadLabel, node: Node): string {
  const labels = of === 'node' ? node.spec.labels : node.description.engine.labels;
  return Object.hasOwn(labels, label) ? (labels[label] ?? '') : '';
}

/** "10.1.2.3:2377" → "10.1.2.3", "[fd00::1]:2377" → "fd00::1". */
function hostOf(address: string): string {
  const bracketed = /^\[(.*)\](?::\d+)?$/.exec(address);
  if (bracketed !== null) return bracketed[1] ?? '';
  return /^[^:]*:\d+$/.test(address) ? address.slice(0, address.indexOf(':')) : address;
}
