import type { Service, Task } from '../../proto/types/index.ts';
import { isLive } from '../model/task-state.ts';
import type { WriteTransaction } from '../store/types.ts';
import type { Move } from './plan.ts';

/**
 * Begins to move tasks: an update to the spec that the service has, which all other tasks have reached already. So parallelism, delay,
 * order, health, monitor and failure ratio are those of an update, and what moves is replaced where the scheduler puts it.
 * @param now wall time, ms
 */
export function beginRebalance(tx: WriteTransaction, service: Service, moves: readonly Move[], now: number): void {
  const moving = new Set<string>(moves.map(({ task }) => task.id));
  const specVersion = service.specVersion + 1;
  const stays = (task: Task): boolean =>
    task.specVersion === service.specVersion && !task.oneOff && isLive(task) && !moving.has(task.id);
  for (const task of tx.find('task', 'service', service.id))
    if (stays(task)) tx.update('task', { ...task, specVersion });
  tx.update('service', {
    ...service,
    specVersion,
    // They have the spec already: it is the place that changes.
    recreateBelow: specVersion,
    updateStatus: {
      state: 'updating',
      startedAt: now,
      completedAt: 0,
      message: `moving ${moves.length} of ${service.spec.replicas} containers`,
      specVersion,
      total: moves.length,
      failed: [],
      slots: [],
      reason: '',
      kind: 'rebalance',
    },
  });
}
