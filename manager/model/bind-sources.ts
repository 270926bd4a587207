import { hasTemplate } from '../../base/template/index.ts';
import type { Node, NodeBindSources, Service, Task, TaskSpec } from '../../proto/types/index.ts';
import type { NodeId } from '../../base/ids.ts';

/** Paths of its machine that a task's containers have mounted. What still has a template names its node: it is another path on each. */
export const bindSourcesOf = ({ container }: Pick<TaskSpec, 'container'>): readonly string[] =>
  container.mounts.flatMap((mount) => (mount.type === 'bind' && !hasTemplate(mount.source) ? [mount.source] : []));

/** Whether a name of {@link bindSourcesOf} and of volumes together is the former: volumes have no slash. */
export const isBindSource = (name: string): boolean => name.startsWith('/');

/** Paths of which nodes are asked whether they have them, sorted: those of services, and of tasks of "run" that have no node yet. */
export function wantedBindSources(services: readonly Service[], tasks: readonly Task[]): readonly string[] {
  const wanted = new Set<string>();
  const add = (spec: TaskSpec): void => {
    for (const source of bindSourcesOf(spec)) wanted.add(source);
  };
  for (const { spec, pendingDelete } of services) if (!pendingDelete) add(spec.task);
  for (const { spec, oneOff, nodeId } of tasks) if (oneOff && nodeId === '') add(spec);
  return [...wanted].sort();
}

/** Whether a node that says what it has has not said so of a path yet. */
export const hasToSay = ({ status, bindSources }: Node, source: string): boolean =>
  status.state === 'ready' &&
  bindSources !== undefined &&
  !bindSources.present.includes(source) &&
  !bindSources.missing.includes(source);

/**
 * Nodes that have a path: what reads or writes there belongs to one of them. Nodes that say nothing of paths may have it.
 * @returns none when no node has said that it has it: it belongs nowhere yet
 */
export function holdersOf(source: string, nodes: Iterable<Node>): readonly NodeId[] {
  const holders: NodeId[] = [];
  let isThere = false;
  for (const node of nodes) {
    const has = node.bindSources === undefined ? undefined : hasSource(node, node.bindSources, source);
    isThere ||= has === true;
    if (has !== false) holders.push(node.id);
  }
  return isThere ? holders : [];
}

/** Of a node that cannot be asked it counts what it had before. */
const hasSource = ({ status }: Node, { present, missing, former = [] }: NodeBindSources, source: string): boolean =>
  present.includes(source) || (status.state !== 'ready' && !missing.includes(source) && former.includes(source));
