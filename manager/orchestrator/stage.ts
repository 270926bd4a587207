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

/** Keeps tasks what the services say. */
export function orchestratorStage(clock: Pick<Clock, 'now'>, random: Random): Stage {
  return {
    name: 'orchestrator',
    concerns: (table) => table !== 'node',
    decide(view) {
      const plan = reconcile(observe(view), clock.now(), () => newId<TaskId>(random));
      return isEmptyPlan(plan) ? undefined : (tx) => applyPlan(tx, plan);
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
    historyLimit: tx.list('cluster')[0]?.spec.taskHistoryLimit ?? DEFAULT_HISTORY_LIMIT,
  };
}

function applyPlan(tx: WriteTransaction, plan: Plan): void {
  for (const task of plan.createTasks) tx.create('task', task);
  for (const task of plan.updateTasks) tx.update('task', task);
  for (const id of plan.removeTasks) tx.remove('task', id);
  for (const id of plan.removeServices) tx.remove('service', id);
  for (const id of plan.removeNetworks) tx.remove('network', id);
  for (const id of plan.removeSecrets) tx.remove('secret', id);
  for (const id of plan.removeConfigs) tx.remove('config', id);
  for (const id of plan.removeProjects) tx.remove('project', id);
}
