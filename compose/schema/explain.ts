import { Ajv } from 'ajv';
import type { ErrorObject } from 'ajv';
import { TsswarmError } from '../../base/errors.ts';
import type { Path, TreeNode } from '../types/node.ts';
import { formatPath, locate, plainValue } from '../types/node.ts';
import { nearest } from './nearest.ts';
import { COMPOSE_SCHEMA } from './schema.ts';

/**
 * Why a tree is not a compose file. Loaded only then: compiling the schema takes longer than all else that loading a project does.
 */
export function explainFault(root: TreeNode): TsswarmError {
  const check = new Ajv({ allErrors: true, strict: false, verbose: true, validateSchema: false, meta: false }).compile(
    COMPOSE_SCHEMA,
  );
  check(plainValue(root));
  return mostTelling(root, check.errors ?? []);
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
