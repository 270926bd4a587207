import type { Clock } from '../../base/clock.ts';
import { newId } from '../../base/ids.ts';
import type { TaskId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import { DEFAULT_HISTORY_LIMIT } from '../cluster/spec.ts';
import type { ReadTransaction, WriteTransaction } from '../store/types.ts';
import type { Stage } from '../model/stages/stage.ts';
import type { ClusterView, Plan } from './plan.ts';
import { isEmptyPlan } from './plan.ts';
import { reconcile } from './reconcile.ts';
import { slotsOf } from '../model/slots.ts';
import { isUpdating } from '../model/update.ts';
import { slotTargets } from './targets.ts';
import type { ConstraintMatch } from './targets.ts';
import { updateDueAt } from './update.ts';

/** Keeps tasks what the services say. */
export function orchestratorStage(clock: Pick<Clock, 'now'>, random: Random, matches: ConstraintMatch): Stage {
  /** Time goes on between a look and the question when to look again: what fell due in between must not be missed. */
  let lookedAt = 0;
  let ledSince: number | undefined;
  return {
    name: 'orchestrator',
    concerns: () => true,
    decide(view) {
      lookedAt = clock.now();
      ledSince ??= lookedAt;
      const plan = reconcile(observe(view), { now: lookedAt, ledSince }, () => newId<TaskId>(random), matches);
      return isEmptyPlan(plan) ? undefined : (tx) => applyPlan(tx, plan);
    },
    dueAt(view) {
      const time = { now: lookedAt, ledSince: ledSince ?? lookedAt };
      const times = view
        .list('service')
        .filter((service) => isUpdating(service) && !service.stopped && !service.pendingDelete)
        .flatMap((service) => {
          const tasks = view.find('task', 'service', service.id);
          const numbers = slotTargets(service, tasks, view.list('node'), matches).map(({ slot }) => slot);
          return updateDueAt(service, slotsOf(tasks), numbers, time) ?? [];
        });
      return times.length === 0 ? undefined : Math.min(...times);
    },
  };
}

function observe(tx: ReadTransaction): ClusterView {
  return {
    projects: tx.list('project'),
    services: tx.list('service'),
    tasks: tx.list('task'),
    networks: tx.list('network'),
    volumes: tx.list('volume'),
    secrets: tx.list('secret'),
    configs: tx.list('config'),
    revisions: tx.list('revision'),
    nodes: tx.list('node'),
    historyLimit: tx.list('cluster')[0]?.spec.taskHistoryLimit ?? DEFAULT_HISTORY_LIMIT,
  };
}

function applyPlan(tx: WriteTransaction, plan: Plan): void {
  for (const task of plan.createTasks) tx.create('task', task);
  for (const task of plan.updateTasks) tx.update('task', task);
  for (const service of plan.updateServices) tx.update('service', service);
  for (const id of plan.removeTasks) tx.remove('task', id);
  for (const id of plan.removeServices) tx.remove('service', id);
  for (const id of plan.removeNetworks) tx.remove('network', id);
  for (const id of plan.removeSecrets) tx.remove('secret', id);
  for (const id of plan.removeConfigs) tx.remove('config', id);
  for (const id of plan.removeProjects) tx.remove('project', id);
  for (const id of plan.removeRevisions) tx.remove('revision', id);
}
