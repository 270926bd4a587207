import { TsswarmError } from '../../../base/errors.ts';
import type { Node, Task } from '../../../proto/types/index.ts';

/** Values that are asked for, by key: one of them must fit, of labels all. */
type Filters = ReadonlyMap<string, readonly string[]>;

const NODE_KEYS = ['id', 'label', 'membership', 'name', 'node.label', 'role'];
const TASK_KEYS = ['desired-state', 'id', 'name'];

/**
 * Nodes that `--filter` lets through, as `docker node ls` has it: ids and names by their beginning.
 * @throws INVALID_INPUT for a key or value that is not known
 */
export function filterNodes(nodes: readonly Node[], texts: readonly string[]): readonly Node[] {
  const filters = read(texts, NODE_KEYS);
  demandWord(filters, 'role', ['manager', 'worker']);
  demandWord(filters, 'membership', ['accepted', 'pending']);
  const labels = [...(filters.get('label') ?? []), ...(filters.get('node.label') ?? [])];
  return nodes.filter(
    ({ id, description, spec }) =>
      some(filters, 'id', (value) => id.startsWith(value)) &&
      some(filters, 'name', (value) => description.hostname.startsWith(value)) &&
      some(filters, 'role', (value) => spec.role === value) &&
      // Whoever is in the list was let in by a token: there is nobody to accept.
      some(filters, 'membership', (value) => value === 'accepted') &&
      labels.every((label) => hasLabel({ ...description.engine.labels, ...spec.labels }, label)),
  );
}

/** Tasks that `--filter` lets through, as `docker node ps` has it. @throws INVALID_INPUT */
export function filterTasks(tasks: readonly Task[], texts: readonly string[]): readonly Task[] {
  const filters = read(texts, TASK_KEYS);
  demandWord(filters, 'desired-state', ['ready', 'running', 'shutdown', 'remove']);
  return tasks.filter(
    ({ id, name, desiredState }) =>
      some(filters, 'id', (value) => id.startsWith(value)) &&
      some(filters, 'name', (value) => name.startsWith(value)) &&
      some(filters, 'desired-state', (value) => desiredState === value),
  );
}

function read(texts: readonly string[], keys: readonly string[]): Filters {
  const filters = new Map<string, readonly string[]>();
  for (const text of texts) {
    const [, key = '', value = ''] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
    if (!keys.includes(key) || value === '') {
      const reason = key === '' || value === '' ? 'expected <key>=<value>' : `the key "${key}" is not known`;
      throw new TsswarmError('INVALID_INPUT', `using --filter "${text}": ${reason}, keys are ${keys.join(', ')}`);
    }
    filters.set(key, [...(filters.get(key) ?? []), value]);
  }
  return filters;
}

function demandWord(filters: Filters, key: string, words: readonly string[]): void {
  for (const value of filters.get(key) ?? []) {
    if (words.includes(value)) continue;
    throw new TsswarmError('INVALID_INPUT', `using --filter "${key}=${value}": expected one of ${words.join(', ')}`);
  }
}

function some(filters: Filters, key: string, fits: (value: string) => boolean): boolean {
  return filters.get(key)?.some(fits) ?? true;
}

/** "key" or "key=value". */
function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const at = wanted.indexOf('=');
  if (at < 0) return Object.hasOwn(labels, wanted);
  return labels[wanted.slice(0, at)] === wanted.slice(at + 1);
}
