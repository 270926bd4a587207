import { TsswarmError } from '../../../base/errors.ts';
import type { Node, Task } from '../../../proto/types/index.ts';

/** Values that are asked for, by key: one of them must fit, of labels all. */
export type Filters = ReadonlyMap<string, readonly string[]>;

const NODE_KEYS = ['id', 'label', 'membership', 'name', 'node.label', 'role'];
const TASK_KEYS = ['desired-state', 'id', 'name'];

/**
 * Nodes that `--filter` lets through, as `docker node ls` has it: ids and names by their beginning.
 * @throws INVALID_INPUT for a key or value that is not known
 */
export function filterNodes(nodes: readonly Node[], texts: readonly string[]): readonly Node[] {
  const filters = readFilters(texts, NODE_KEYS);
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

/**
 * Tasks that `--filter` lets through, as `docker node ps` and `docker service ps` have it.
 * @param nodeIdOf with it nodes can be asked for, by id or name
 * @param nameOf the name that is shown
 * @throws INVALID_INPUT
 */
export function filterTasks(
  tasks: readonly Task[],
  texts: readonly string[],
  nodeIdOf?: (name: string) => string,
  nameOf: (task: Task) => string = (task) => task.name,
): readonly Task[] {
  const filters = readFilters(texts, nodeIdOf === undefined ? TASK_KEYS : [...TASK_KEYS, 'node'].sort());
  const nodes = filters.get('node')?.map((name) => nodeIdOf?.(name) ?? name);
  demandWord(filters, 'desired-state', ['ready', 'running', 'shutdown', 'remove']);
  return tasks.filter(
    (task) =>
      some(filters, 'id', (value) => task.id.startsWith(value)) &&
      some(filters, 'name', (value) => nameOf(task).startsWith(value) || task.name.startsWith(value)) &&
      some(filters, 'desired-state', (value) => task.desiredState === value) &&
      (nodes === undefined || nodes.includes(task.nodeId)),
  );
}

/** `--filter` values "key=value". @throws INVALID_INPUT for a key that is not among `keys` */
export function readFilters(texts: readonly string[], keys: readonly string[]): Filters {
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

/** Refuses values of a key that are none of some words. @throws INVALID_INPUT */
export function demandWord(filters: Filters, key: string, words: readonly string[]): void {
  for (const value of filters.get(key) ?? []) {
    if (words.includes(value)) continue;
    throw new TsswarmError('INVALID_INPUT', `using --filter "${key}=${value}": expected one of ${words.join(', ')}`);
  }
}

/** Whether one of the values of a key fits; without any, everything does. */
export function some(filters: Filters, key: string, fits: (value: string) => boolean): boolean {
  return filters.get(key)?.some(fits) ?? true;
}

/** "key" or "key=value". */
export function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const at = wanted.indexOf('=');
  if (at < 0) return Object.hasOwn(labels, wanted);
  return labels[wanted.slice(0, at)] === wanted.slice(at + 1);
}
