import type { PastTask, Revision, Secret, Service, Task } from '../../proto/types/index.ts';
import { currentOf, slotsOf, tasksByService } from '../model/slots.ts';
import { isFinal } from '../model/task-state.ts';
import type { ClusterView, PlanBuilder } from './plan.ts';

/**
 * Forgets what nobody needs any more: tasks that are gone from their node, history beyond its limit, deleted services
 * without tasks, and in a project without services its secrets, configs, unused networks, and at last the project with its history.
 */
export function collectGarbage(view: ClusterView, plan: PlanBuilder): void {
  const tasks = tasksByService(view.tasks);
  for (const task of view.tasks) if (isGone(task)) plan.remove(task.id);
  for (const service of view.services) {
    const own = tasks.get(service.id) ?? [];
    if (service.pendingDelete && own.every(isGone)) plan.removeServices.push(service.id);
    else {
      trimHistory(service, own, view.historyLimit, plan);
      remember(service, own, view.historyLimit, plan);
    }
  }
  const gone = new Set<string>(plan.removeServices);
  for (const project of view.projects) {
    const inProject = (object: { readonly projectId: string }): boolean => object.projectId === project.id;
    if (view.services.some((service) => inProject(service) && !gone.has(service.id))) continue;
    if (view.tasks.some((task) => inProject(task) && !isGone(task))) continue;
    const used = filesInUse(view, gone);
    const unused = ({ spec }: Pick<Secret, 'spec'>): boolean => !used.has(spec.name);
    const secrets = view.secrets.filter(inProject);
    const configs = view.configs.filter(inProject);
    plan.removeSecrets.push(...secrets.filter(unused).map(({ id }) => id));
    plan.removeConfigs.push(...configs.filter(unused).map(({ id }) => id));
    if (!secrets.every(unused) || !configs.every(unused)) continue;
    // Networks and volumes go when their node has said so; a project keeps the volumes that it leaves behind.
    if (view.networks.some(inProject) || view.volumes.some(inProject)) continue;
    plan.removeProjects.push(project.id);
  }
  const forgotten = new Set<string>([...gone, ...plan.removeProjects]);
  if (forgotten.size === 0) return;
  const isForgotten = ({ projectId, serviceId }: Revision): boolean => forgotten.has(projectId || serviceId);
  plan.removeRevisions.push(...view.revisions.filter(isForgotten).map(({ id }) => id));
}

/** Names of the secrets and configs that services have which stay: some have those of a project that is not theirs. */
function filesInUse(view: ClusterView, gone: ReadonlySet<string>): ReadonlySet<string> {
  const staying = view.services.filter(({ id }) => !gone.has(id));
  return new Set(
    staying.flatMap(({ spec }) =>
      [...spec.task.container.secrets, ...spec.task.container.configs].map(({ name }) => name),
    ),
  );
}

/** Nothing of the task is left anywhere. */
function isGone(task: Task): boolean {
  if (task.status.state === 'remove') return true;
  if (task.desiredState !== 'remove') return false;
  // Nobody speaks for an orphaned task. Should its node come back, its agent removes the container that is assigned no more.
  return task.nodeId === '' || task.status.state === 'orphaned';
}

function trimHistory(service: Service, tasks: readonly Task[], limit: number, plan: PlanBuilder): void {
  for (const slot of slotsOf(tasks).values()) {
    // Nothing is history but what is beside the current one.
    if (slot.length === 1) continue;
    const current = currentOf(slot, service);
    const ended = slot.filter((task) => task !== current && isFinal(task) && task.desiredState !== 'remove');
    for (const task of ended.slice(0, Math.max(0, ended.length - (limit - 1))))
      plan.update(task, { desiredState: 'remove' });
  }
}

/**
 * A container goes with its successor, which takes over its volumes: what it was is kept with the one that has its slot now, as many of
 * them as the history still has room for beside those that have ended and are there.
 */
function remember(service: Service, tasks: readonly Task[], limit: number, plan: PlanBuilder): void {
  if (service.pendingDelete || !tasks.some(isGone)) return;
  for (const slot of slotsOf(tasks).values()) {
    const gone = slot.filter((task) => isGone(task) && task.nodeId !== '');
    const left = slot.filter((task) => !isGone(task));
    const heir = currentOf(left, service) ?? left.at(-1);
    if (heir === undefined || gone.length === 0) continue;
    const known = [...gone.map(recordOf), ...[heir, ...gone].flatMap(({ past }) => past ?? [])];
    const past = known
      .sort((a, b) => b.createdAt - a.createdAt)
      .filter(({ id }, index, all) => all.findIndex((other) => other.id === id) === index)
      .slice(0, Math.max(0, limit - left.length));
    if (past.length > 0) plan.update(heir, { past });
  }
}

function recordOf({ id, spec, nodeId, status, meta, specVersion }: Task): PastTask {
  const { state, error, timestamp } = status;
  const ended = state === 'remove' ? (error === '' ? 'shutdown' : 'failed') : state;
  return {
    id,
    image: spec.container.image,
    nodeId,
    state: ended,
    error,
    timestamp,
    createdAt: meta.createdAt,
    specVersion,
  };
}
