import type { AssignmentChange, AssignmentSet } from '../../proto/types/index.ts';

type Lists = { readonly [K in keyof AssignmentSet]: AssignmentSet[K][number] };

const KEYS: { readonly [K in keyof AssignmentSet]: (item: Lists[K]) => string } = {
  tasks: ({ id }) => id,
  networks: ({ id }) => id,
  volumes: ({ id }) => id,
  secrets: ({ id }) => id,
  configs: ({ id }) => id,
  endpoints: ({ taskId, networkId }) => `${taskId}/${networkId}`,
  ingress: ({ port }) => `${port.protocol}/${port.hostIp}/${port.published}`,
  services: ({ serviceId, networkId }) => `${serviceId}/${networkId}`,
  peers: ({ nodeId }) => nodeId,
  locations: ({ taskId, networkId }) => `${taskId}/${networkId}`,
};

const NAMES = Object.keys(KEYS) as (keyof AssignmentSet)[];

/** The first message of a session: everything. */
export function completeChange(set: AssignmentSet, sequence: number): AssignmentChange {
  const remove = Object.fromEntries(NAMES.map((name) => [name, []])) as unknown as AssignmentChange['remove'];
  return { kind: 'complete', sequence, update: set, remove };
}

/** What makes `after` of `before`; undefined when they are equal. Stored objects compare by version, derived ones by value. */
export function difference(
  before: AssignmentSet,
  after: AssignmentSet,
  sequence: number,
): AssignmentChange | undefined {
  const update: Record<string, unknown[]> = {};
  const remove: Record<string, string[]> = {};
  let changed = false;
  for (const name of NAMES) {
    const found = between(name, before[name], after[name]);
    update[name] = found.updates;
    remove[name] = found.removals;
    changed ||= found.updates.length + found.removals.length > 0;
  }
  if (!changed) return undefined;
  return {
    kind: 'incremental',
    sequence,
    update: update as unknown as AssignmentSet,
    remove: remove as unknown as AssignmentChange['remove'],
  };
}

interface ListDifference {
  readonly updates: unknown[];
  readonly removals: string[];
}
/** What was compared last with a list. Of lists that many nodes have in common it is the same for all of them. */
const compared = new WeakMap<
  readonly unknown[],
  { readonly after: readonly unknown[]; readonly found: ListDifference }
>();

function between(name: keyof AssignmentSet, before: readonly unknown[], after: readonly unknown[]): ListDifference {
  if (before === after) return { updates: [], removals: [] };
  const last = compared.get(before);
  if (last?.after === after) return last.found;
  const key = KEYS[name] as (item: unknown) => string;
  const old = new Map<string, unknown>(before.map((item) => [key(item), item]));
  const updates: unknown[] = [];
  for (const item of after) {
    const known = old.get(key(item));
    old.delete(key(item));
    if (known === undefined || !same(known, item)) updates.push(item);
  }
  const found = { updates, removals: [...old.keys()] };
  compared.set(before, { after, found });
  return found;
}

/** Whether a node leads somebody somewhere before that it does not afterwards: a name, a virtual address or a backend of a port is gone. */
export function withdraws(before: AssignmentSet, { update, remove }: AssignmentChange): boolean {
  if (remove.endpoints.length + remove.ingress.length + remove.services.length > 0) return true;
  if (update.ingress.length === 0) return false;
  const known = new Map(before.ingress.map((port) => [KEYS.ingress(port), port]));
  return update.ingress.some((port) => {
    const kept = new Set<string>(port.backends.map(({ taskId }) => taskId));
    return (known.get(KEYS.ingress(port))?.backends ?? []).some(({ taskId }) => !kept.has(taskId));
  });
}

function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  const [left, right] = [a, b] as { meta?: { version: number }; status?: unknown; draining?: boolean }[];
  if (left?.draining !== right?.draining) return false;
  if (left?.meta !== undefined && right?.meta !== undefined) {
    return left.meta.version === right.meta.version || (left.status !== undefined && sameBesidesStatus(left, right));
  }
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Parts of a task that no agent goes by. */
const MANAGERS_OWN = new Set(['status', 'meta', 'changing', 'refused']);

/** The agent knows the status of its tasks better than we do: a change of status alone is not sent back to it. */
function sameBesidesStatus(a: object, b: object): boolean {
  // A report makes a new task of the old one's parts.
  const [left, right] = [a, b] as Readonly<Record<string, unknown>>[];
  const isPart = (name: string): boolean => MANAGERS_OWN.has(name) || left?.[name] === right?.[name];
  if (Object.keys(a).every(isPart) && Object.keys(b).every(isPart)) return true;
  const strip = (object: object): string =>
    JSON.stringify({ ...object, status: undefined, meta: undefined, changing: undefined, refused: undefined });
  return strip(a) === strip(b);
}
