import { TsswarmError } from '../../base/errors.ts';
import type { MapEntry, MapNode, TreeNode } from '../types/node.ts';
import { mergeTrees, settleTags } from './merge.ts';

/** Another file of the project, read and interpolated, with its relative paths already made absolute. */
export type LoadOther = (path: string, from: TreeNode) => Promise<TreeNode>;

/**
 * Resolves `extends` of every service of a tree: the base first, the extending service on top.
 * @throws INVALID_COMPOSE for an unknown service or a cycle
 */
export async function resolveExtends(root: TreeNode, loadOther: LoadOther): Promise<TreeNode> {
  const services = root.kind === 'map' ? root.entries.get('services') : undefined;
  if (root.kind !== 'map' || services?.node.kind !== 'map') return root;
  const resolved = new Map<string, MapEntry>();
  for (const [name, entry] of services.node.entries) {
    resolved.set(name, { ...entry, node: await resolveService(name, entry.node, services.node, loadOther, []) });
  }
  const entries = new Map(root.entries);
  entries.set('services', { ...services, node: { ...services.node, entries: resolved } });
  return { ...root, entries };
}

async function resolveService(
  name: string,
  service: TreeNode,
  siblings: MapNode,
  loadOther: LoadOther,
  path: readonly string[],
): Promise<TreeNode> {
  if (service.kind !== 'map') return service;
  const entry = service.entries.get('extends');
  if (entry === undefined) return service;
  const { file, target } = reference(entry.node);
  const step = `${file ?? entry.node.where.file}:${name}`;
  if (path.includes(step)) {
    throw new TsswarmError('INVALID_COMPOSE', `extending service "${name}": it extends itself by way of others`, {
      where: entry.keyWhere,
    });
  }
  let family = siblings;
  if (file !== undefined) {
    const other = await loadOther(file, entry.node);
    const found = other.kind === 'map' ? other.entries.get('services')?.node : undefined;
    family = found?.kind === 'map' ? found : { kind: 'map', entries: new Map(), where: entry.node.where };
  }
  const base = family.entries.get(target);
  if (base === undefined) {
    throw new TsswarmError(
      'INVALID_COMPOSE',
      `extending service "${name}": there is no service "${target}"${file === undefined ? '' : ` in ${file}`}`,
      {
        where: entry.node.where,
      },
    );
  }
  const settled = await resolveService(target, base.node, family, loadOther, [...path, step]);
  const own = new Map(service.entries);
  own.delete('extends');
  return mergeTrees(settleTags(settled), { ...service, entries: own }, ['services', name]);
}

function reference(node: TreeNode): { readonly file?: string; readonly target: string } {
  if (node.kind === 'scalar' && typeof node.value === 'string') return { target: node.value };
  const text = (key: string): string | undefined => {
    const value = node.kind === 'map' ? node.entries.get(key)?.node : undefined;
    return value?.kind === 'scalar' && typeof value.value === 'string' ? value.value : undefined;
  };
  const target = text('service');
  if (target === undefined) {
    throw new TsswarmError(
      'INVALID_COMPOSE',
      'reading "extends": expected a service name, or a map with service and file',
      { where: node.where },
    );
  }
  const file = text('file');
  return file === undefined ? { target } : { file, target };
}
