import type { Clock } from '../../base/clock.ts';
import { newId } from '../../base/ids.ts';
import type { NodeId, VolumeId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type { Service } from '../../proto/types/index.ts';
import { networkServiceOf } from '../model/shared-network.ts';
import type { Stage } from '../model/stages/stage.ts';
import type { ReadTransaction } from '../store/types.ts';
import { Scheduler } from './schedule.ts';
import type { SchedulerView } from './schedule.ts';

/** Tasks in one transaction, each with its whole spec: a transaction is limited in size, and a long one holds up the heartbeats. */
const MAX_TASKS_PER_TURN = 500;

/**
 * Tasks that nodes have been given and have not said a word of. More are not given out before: what a thousand nodes are told in a
 * second takes them and their managers longer than that to do and to report, and heartbeats would wait behind it all.
 */
const MOST_UNHEARD = 2000;

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
          sharersOf: sharersIn(view),
          tasksOf: (id) => view.find('task', 'service', id),
          servicePorts: () => view.list('service').flatMap(({ ports }) => ports),
        },
        clock.now(),
        Math.min(MAX_TASKS_PER_TURN, roomFor(view)),
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

/** Services by the one whose network their tasks share; looked up when it is asked for first. */
export function sharersIn(view: Pick<ReadTransaction, 'list'>): SchedulerView['sharersOf'] {
  let known: ReadonlyMap<string, readonly Service[]> | undefined;
  const key = (projectId: string, name: string): string => `${projectId}/${name}`;
  return ({ projectId, spec }) => {
    known ??= Map.groupBy(view.list('service'), (service) =>
      key(service.projectId, networkServiceOf(service.spec.task) ?? ''),
    );
    return known.get(key(projectId, spec.composeName)) ?? [];
  };
}

/** How many more tasks may be given out now. */
function roomFor(view: ReadTransaction): number {
  const tasks = view.list('task');
  if (tasks.length <= MOST_UNHEARD) return MOST_UNHEARD;
  // Of a node that is not there nothing will be heard.
  const isThere = new Set(view.list('node').flatMap(({ id, status }) => (status.state === 'ready' ? [id] : [])));
  const unheard = tasks.filter(({ status, nodeId }) => status.state === 'assigned' && isThere.has(nodeId as NodeId));
  return Math.max(0, MOST_UNHEARD - unheard.length);
}
