import { Ajv } from 'ajv';
import type { ErrorObject } from 'ajv';
import { TsswarmError } from '../../base/errors.ts';
import type { Path, TreeNode } from '../types/node.ts';
import { formatPath, locate, plainValue } from '../types/node.ts';
import { NOT_HONOURED_YET } from './keys.ts';
import { COMPOSE_SCHEMA } from './schema.ts';

const ajv = new Ajv({
  allErrors: true,
  strict: false,
  verbose: true,
  // It is compiled at every start of a command and runs once: making its code quick to make is what counts.
  code: { optimize: false },
  validateSchema: false,
  meta: false,
});
const check = ajv.compile(COMPOSE_SCHEMA);

/**
 * Refuses a file that is not a compose file, and keys that are not honoured yet.
 * @throws INVALID_COMPOSE or NOT_SUPPORTED with the place of the first fault
 */
export function validateTree(root: TreeNode): void {
  if (root.kind !== 'map') {
    throw new TsswarmError('INVALID_COMPOSE', 'reading the compose file: its top level is not a map', {
      where: root.where,
      hint: 'it has at least a "services:" map',
    });
  }
  if (!check(plainValue(root))) throw mostTelling(root, check.errors ?? []);
  refuseNotHonoured(root);
}

/** Of all errors the one of the deepest place; branches of an alternative that nobody meant are noise. */
function mostTelling(root: TreeNode, errors: readonly ErrorObject[]): TsswarmError {
  const useful = errors.filter(({ keyword }) => keyword !== 'anyOf');
  const depth = (error: ErrorObject): number =>
    error.instancePath.split('/').length + (error.keyword === 'additionalProperties' ? 0.5 : 0);
  const deepest = [...(useful.length > 0 ? useful : errors)].sort((a, b) => depth(b) - depth(a))[0];
  if (deepest === undefined) return new TsswarmError('INVALID_COMPOSE', 'reading the compose file: it is not valid');
  const path = pointer(deepest.instancePath);
  const siblings = useful.filter((error) => error.instancePath === deepest.instancePath && error.keyword === 'type');
  switch (deepest.keyword) {
    case 'additionalProperties': {
      const key = String((deepest.params as { additionalProperty: string }).additionalProperty);
      const known = Object.keys((deepest.parentSchema as { properties?: object } | undefined)?.properties ?? {});
      const near = nearest(key, known);
      const parent = path.length === 0 ? 'at the top level' : `in "${formatPath(path)}"`;
      return new TsswarmError('INVALID_COMPOSE', `unknown key "${key}" ${parent}`, {
        where: locate(root, [...path, key], true),
        ...(near === undefined ? {} : { hint: `did you mean "${near}"?` }),
      });
    }
    case 'enum': {
      const allowed = (deepest.params as { allowedValues: readonly unknown[] }).allowedValues.join(', ');
      return fault(root, path, `is "${show(deepest.data)}", expected one of: ${allowed}`);
    }
    default: {
      const types = (siblings.length > 0 ? siblings : [deepest]).flatMap(
        ({ params }) => (params as { type?: string | string[] }).type ?? [],
      );
      const expected = [...new Set(types)].map(
        (type) => ({ object: 'a map', array: 'a list', string: 'text', null: 'nothing' })[type] ?? `a ${type}`,
      );
      return fault(
        root,
        path,
        `is ${describe(deepest.data)}, expected ${expected.join(' or ') || (deepest.message ?? 'something else')}`,
      );
    }
  }
}

function fault(root: TreeNode, path: Path, what: string): TsswarmError {
  return new TsswarmError('INVALID_COMPOSE', `"${formatPath(path)}" ${what}`, { where: locate(root, path) });
}

const pointer = (text: string): Path =>
  text === ''
    ? []
    : text
        .slice(1)
        .split('/')
        .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
        .map((part) => (/^\d+$/.test(part) ? Number(part) : part));

const show = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function describe(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a map' : `"${show(value)}"`;
}

/** Where each level of {@link NOT_HONOURED_YET} stands in the tree. */
const LEVELS: readonly (readonly [string, string])[] = [
  ['top', ''],
  ['service', 'services.*'],
  ['build', 'services.*.build'],
  ['deploy', 'services.*.deploy'],
  ['update', 'services.*.deploy.update_config'],
  ['reservations', 'services.*.deploy.resources.reservations'],
  ['placement', 'services.*.deploy.placement'],
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

/** The known word that a mistyped one is nearest to, if it is near at all. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
