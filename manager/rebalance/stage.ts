import type { Clock } from '../../base/clock.ts';
import type { ServiceId } from '../../base/ids.ts';
import type { Service } from '../../proto/types/index.ts';
import { isPaused, isUpdating } from '../model/update.ts';
import { isServing } from '../model/task-state.ts';
import type { Stage } from '../model/stages/stage.ts';
import type { ReadTransaction } from '../store/types.ts';
import { beginRebalance } from './begin.ts';
import { planRebalance } from './plan.ts';

/**
 * Moves tasks of services that want it by themselves, whenever the nodes that there are have changed. For the same nodes it looks
 * once: where the scheduler cannot do as planned, nothing goes to and fro.
 */
export function rebalanceStage(clock: Pick<Clock, 'now'>): Stage {
  const lookedAt = new Map<ServiceId, string>();
  /** What was begun for which nodes, and from which version of the service. */
  const begun = new Map<ServiceId, { readonly key: string; readonly specVersion: number }>();
  return {
    name: 'rebalancer',
    concerns: (table) => table === 'node' || table === 'service' || table === 'task',
    decide(view) {
      const services = view.list('service').filter(({ spec }) => spec.rebalance === 'auto');
      if (services.length === 0) return undefined;
      const nodes = nodesSeen(view);
      for (const service of services) {
        const key = `${service.spec.task.constraints.join()} ${nodes}`;
        if (lookedAt.get(service.id) === key || !isSettled(view, service)) continue;
        const last = begun.get(service.id);
        const isDone = last?.key === key && service.specVersion > last.specVersion;
        const { moves } = isDone ? { moves: [] } : planRebalance(view, service, clock.now());
        if (moves.length === 0) {
          lookedAt.set(service.id, key);
          // Other nodes than then: what was done for those counts no longer when they are back.
          if (last?.key !== key) begun.delete(service.id);
          continue;
        }
        return (tx) => {
          begun.set(service.id, { key, specVersion: service.specVersion });
          beginRebalance(tx, service, moves, clock.now());
        };
      }
      return undefined;
    },
  };
}

/** All that decides which nodes tasks may be moved to. */
const nodesSeen = (view: ReadTransaction): string =>
  JSON.stringify(
    view
      .list('node')
      .filter(({ status, spec }) => status.state === 'ready' && spec.availability === 'active')
      .map(({ id, spec, description }) => [id, spec.labels, description.engine.labels]),
  );

function isSettled(view: ReadTransaction, service: Service): boolean {
  if (isUpdating(service) || isPaused(service) || service.stopped || service.pendingDelete) return false;
  return (
    view.find('task', 'service', service.id).filter((task) => task.desiredState === 'running' && isServing(task))
      .length >= service.spec.replicas
  );
}
