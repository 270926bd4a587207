import { TsswarmError, formatLocation } from '../../base/errors.ts';
import type { ListNode, MapEntry, MapNode, Path, ScalarNode, TreeNode } from '../types/node.ts';
import { formatPath } from '../types/node.ts';

/** How a value of a later file meets the one of an earlier file. */
type Rule =
  /** The later one stands alone. */
  | 'replace'
  /** Key by key. */
  | 'map'
  /** Lists of `KEY=value` and maps are the same thing: key by key. */
  | 'keyed'
  /** Both, one after the other. */
  | 'append'
  /** Both, without repeating a value. */
  | 'union'
  /** Both, the later one where they are about the same thing. */
  | { readonly identity: (item: TreeNode) => string };

const scalarText = (node: TreeNode | undefined): string => (node?.kind === 'scalar' ? String(node.value) : '');
const field = (node: TreeNode, key: string): TreeNode | undefined =>
  node.kind === 'map' ? node.entries.get(key)?.node : undefined;

/** Rules by the end of the path, with `*` for any key: the table of the Compose Specification, "Merge". */
const RULES: readonly (readonly [string, Rule])[] = [
  ['services.*.command', 'replace'],
  ['services.*.entrypoint', 'replace'],
  ['services.*.healthcheck.test', 'replace'],
  ['services.*.ulimits.*', 'replace'],
  ['services.*.environment', 'keyed'],
  ['services.*.labels', 'keyed'],
  ['services.*.annotations', 'keyed'],
  ['services.*.sysctls', 'keyed'],
  ['services.*.build.args', 'keyed'],
  ['services.*.build.labels', 'keyed'],
  ['services.*.deploy.labels', 'keyed'],
  ['services.*.extra_hosts', 'union'],
  ['services.*.ports', { identity: portIdentity }],
  ['services.*.volumes', { identity: mountTarget }],
  ['services.*.devices', { identity: mountTarget }],
  ['services.*.secrets', { identity: fileIdentity }],
  ['services.*.configs', { identity: fileIdentity }],
  ['services.*.env_file', { identity: (item) => scalarText(field(item, 'path') ?? item) }],
  ['services.*.security_opt', 'append'],
  ['services.*.group_add', 'append'],
  ['services.*.deploy.placement.constraints', 'append'],
  ['services.*.deploy.placement.preferences', 'append'],
  ['networks.*.labels', 'keyed'],
  ['volumes.*.labels', 'keyed'],
  ['secrets.*.labels', 'keyed'],
  ['configs.*.labels', 'keyed'],
];

/** Keys whose short form is another shape: it is brought into the long one before it meets the other file's. */
const SHORT_FORMS: readonly (readonly [string, (node: TreeNode) => TreeNode])[] = [
  ['services.*.build', (node) => (node.kind === 'scalar' ? mapOf(node, [['context', node]]) : node)],
  ['services.*.networks', (node) => (node.kind === 'list' ? mapFromNames(node, (item) => nullOf(item)) : node)],
  [
    'services.*.depends_on',
    (node) =>
      node.kind === 'list'
        ? mapFromNames(node, (item) =>
            mapOf(item, [['condition', { kind: 'scalar', value: 'service_started', where: item.where }]]),
          )
        : node,
  ],
  [
    'services.*.env_file',
    (node) => (node.kind === 'scalar' ? { kind: 'list', items: [node], where: node.where } : node),
  ],
  ...['dns', 'dns_search', 'tmpfs'].map(
    (key) =>
      [
        `services.*.${key}`,
        (node: TreeNode): TreeNode =>
          node.kind === 'scalar' ? { kind: 'list', items: [node], where: node.where } : node,
      ] as const,
  ),
];

/**
 * A later file's tree on top of an earlier one's.
 * @throws INVALID_COMPOSE when the two have shapes that cannot meet
 */
export function mergeTrees(base: TreeNode, over: TreeNode, path: Path = []): TreeNode {
  if (over.tag === 'override') return untagged(over);
  const pattern = patternOf(path);
  const rule = RULES.find(([key]) => matches(key, pattern))?.[1];
  if (rule === 'replace') return over;
  if (over.kind === 'scalar' && over.value === null) return base;
  const shorten = SHORT_FORMS.find(([key]) => matches(key, pattern))?.[1] ?? ((node: TreeNode) => node);
  const [a, b] = rule === 'keyed' ? [keyed(base), keyed(over)] : [shorten(base), shorten(over)];
  if (a.kind === 'scalar' && a.value === null) return b;
  if (pattern.length === 3 && pattern[0] === 'services' && pattern[2] === 'logging' && differentDrivers(a, b)) return b;
  if (a.kind === 'map' && b.kind === 'map') return mergeMaps(a, b, path);
  if (a.kind === 'list' && b.kind === 'list') return mergeLists(a, b, rule);
  if (a.kind === 'scalar' && b.kind === 'scalar') return b;
  throw new TsswarmError(
    'INVALID_COMPOSE',
    `merging "${formatPath(path)}": it is a ${b.kind} here and a ${a.kind} at ${formatLocation(a.where)}`,
    { where: over.where, hint: 'write both in the same form, or replace the first with !override' },
  );
}

/** The tree without what `!reset` took out, and without tags: for a file that has nothing before it. */
export function settleTags(node: TreeNode): TreeNode {
  if (node.kind === 'list')
    return untagged({ ...node, items: node.items.filter(({ tag }) => tag !== 'reset').map(settleTags) });
  if (node.kind === 'scalar') return untagged(node);
  const entries = new Map<string, MapEntry>();
  for (const [key, entry] of node.entries) {
    if (entry.node.tag !== 'reset') entries.set(key, { keyWhere: entry.keyWhere, node: settleTags(entry.node) });
  }
  return untagged({ ...node, entries });
}

function mergeMaps(base: MapNode, over: MapNode, path: Path): MapNode {
  const entries = new Map(base.entries);
  for (const [key, entry] of over.entries) {
    if (entry.node.tag === 'reset') {
      entries.delete(key);
      continue;
    }
    const before = entries.get(key);
    const node = before === undefined ? settleTags(entry.node) : mergeTrees(before.node, entry.node, [...path, key]);
    entries.set(key, { keyWhere: entry.keyWhere, node });
  }
  return { ...base, entries };
}

function mergeLists(base: ListNode, over: ListNode, rule: Rule | undefined): ListNode {
  if (rule === 'append') return { ...base, items: [...base.items, ...over.items] };
  const identity =
    typeof rule === 'object'
      ? rule.identity
      : (item: TreeNode) => JSON.stringify(item.kind === 'scalar' ? item.value : item);
  const items = new Map<string, TreeNode>();
  for (const item of [...base.items, ...over.items]) items.set(identity(item), item);
  return { ...base, items: [...items.values()] };
}

const patternOf = (path: Path): readonly string[] => path.map(String);

function matches(key: string, path: readonly string[]): boolean {
  const parts = key.split('.');
  return parts.length === path.length && parts.every((part, i) => part === '*' || part === path[i]);
}

function untagged<T extends TreeNode>(node: T): T {
  const { tag: _, ...rest } = node;
  return rest as T;
}

const nullOf = (node: TreeNode): ScalarNode => ({ kind: 'scalar', value: null, where: node.where });

function mapOf(at: TreeNode, entries: readonly (readonly [string, TreeNode])[]): MapNode {
  return {
    kind: 'map',
    where: at.where,
    entries: new Map(entries.map(([key, node]) => [key, { keyWhere: at.where, node }])),
  };
}

function mapFromNames(list: ListNode, value: (item: TreeNode) => TreeNode): MapNode {
  return {
    kind: 'map',
    where: list.where,
    entries: new Map(list.items.map((item) => [scalarText(item), { keyWhere: item.where, node: value(item) }])),
  };
}

/** `[A=1, B]` as the map it means. */
function keyed(node: TreeNode): TreeNode {
  if (node.kind !== 'list') return node;
  const entries = new Map<string, MapEntry>();
  for (const item of node.items) {
    const text = scalarText(item);
    const split = text.indexOf('=');
    const value = split < 0 ? null : text.slice(split + 1);
    entries.set(split < 0 ? text : text.slice(0, split), {
      keyWhere: item.where,
      node: { kind: 'scalar', value, where: item.where },
    });
  }
  return { kind: 'map', where: node.where, entries };
}

function differentDrivers(a: TreeNode, b: TreeNode): boolean {
  const [left, right] = [field(a, 'driver'), field(b, 'driver')];
  return left !== undefined && right !== undefined && scalarText(left) !== scalarText(right);
}

function portIdentity(item: TreeNode): string {
  if (item.kind === 'map') {
    const part = (key: string, otherwise = ''): string => scalarText(field(item, key)) || otherwise;
    return `${part('host_ip')}:${part('published')}:${part('target')}/${part('protocol', 'tcp')}`;
  }
  const [ports = '', protocol = 'tcp'] = scalarText(item).split('/');
  const parts = ports.split(':');
  return `${parts.slice(0, -2).join(':')}:${parts.at(-2) ?? ''}:${parts.at(-1) ?? ''}/${protocol}`;
}

function mountTarget(item: TreeNode): string {
  if (item.kind === 'map') return scalarText(field(item, 'target')).replace(/\/+$/, '');
  const parts = scalarText(item).split(':');
  return (parts.length === 1 ? parts[0] : parts[1])?.replace(/\/+$/, '') ?? '';
}

function fileIdentity(item: TreeNode): string {
  return item.kind === 'map'
    ? scalarText(field(item, 'target')) || scalarText(field(item, 'source'))
    : scalarText(item);
}
