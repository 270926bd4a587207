import type { Clock } from '../../base/clock.ts';
import { newId } from '../../base/ids.ts';
import type { VolumeId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type { Stage } from '../model/stages/stage.ts';
import { Scheduler } from './schedule.ts';

/** Tasks in one transaction, each with its whole spec: a transaction is limited in size, and a long one holds up the heartbeats. */
const MAX_TASKS_PER_TURN = 1000;

/** Gives every pending task a node, and notes on which nodes volumes are. */
export function schedulerStage(clock: Pick<Clock, 'now'>, random: Random): Stage {
  const scheduler = new Scheduler();
  return {
    name: 'scheduler',
    concerns: (table) => table === 'task' || table === 'node' || table === 'service' || table === 'volume',
    decide(view) {
      const { tasks, volumes, newVolumes } = scheduler.decide(
        {
          nodes: view.list('node'),
          tasks: view.list('task'),
          service: (id) => view.get('service', id),
          driverOf: (name) => view.find('network', 'name', name)[0]?.spec.driver,
          volume: (name) => view.find('volume', 'name', name)[0],
          tasksOf: (id) => view.find('task', 'service', id),
          servicePorts: () => view.list('service').flatMap(({ ports }) => ports),
        },
        clock.now(),
        MAX_TASKS_PER_TURN,
      );
      if (tasks.length + volumes.length === 0) return undefined;
      return (tx) => {
        for (const task of tasks) tx.update('task', task);
        for (const volume of volumes) tx.update('volume', volume);
        const now = clock.now();
        for (const { spec, projectId } of newVolumes) {
          const meta = { version: 0, createdAt: now, updatedAt: now };
          tx.create('volume', { id: newId<VolumeId>(random), meta, projectId, spec, pendingDelete: false });
        }
      };
    },
  };
}
