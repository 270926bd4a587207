import type { Service, Task } from '../../proto/types/index.ts';
import { isLive } from './task-state.ts';

/** All tasks of one slot, oldest first. */
export type Slot = readonly Task[];

/** The tasks of each service, in their order. */
export const tasksByService = ofEachList((tasks): ReadonlyMap<Service['id'], readonly Task[]> =>
  Map.groupBy(tasks, ({ serviceId }) => serviceId),
);

/** The tasks of a service by slot number, one-off tasks and those on their way out left aside. */
export const slotsOf = ofEachList((tasks): ReadonlyMap<number, Slot> => {
  const slots = new Map<number, Task[]>();
  for (const task of tasks) {
    if (task.oneOff) continue;
    const slot = slots.get(task.slot);
    if (slot === undefined) slots.set(task.slot, [task]);
    else slot.push(task);
  }
  return slots;
});

/** What is made of a list once: several parts of one look at the store ask for it, and the next look where nothing has changed. */
function ofEachList<R>(make: (tasks: readonly Task[]) => R): (tasks: readonly Task[]) => R {
  const known = new WeakMap<readonly Task[], R>();
  return (tasks) => {
    let made = known.get(tasks);
    if (made === undefined) known.set(tasks, (made = make(tasks)));
    return made;
  };
}

/** Whether the service's slots are nodes. */
export const isGlobal = ({ spec }: Pick<Service, 'spec'>): boolean =>
  spec.mode === 'global' || spec.mode === 'global-job';

/** Whether the service's tasks run until they have completed. */
export const isJob = ({ mode }: Service['spec']): boolean => mode === 'replicated-job' || mode === 'global-job';

/**
 * Numbers of the slots that a service shall have, as far as its tasks and the orchestrator's count tell: of a global service
 * those that are there, and free numbers for those that are not there yet.
 */
export function slotNumbers(service: Service, slots: ReadonlyMap<number, Slot>): readonly number[] {
  if (!isGlobal(service)) return Array.from({ length: service.spec.replicas }, (_, index) => index + 1);
  const numbers = [...slots].filter(([, slot]) => currentOf(slot, service) !== undefined).map(([number]) => number);
  const missing = (service.desiredTasks ?? numbers.length + 1) - numbers.length;
  for (let number = 1, found = 0; found < missing; number++) {
    if (slots.has(number)) continue;
    numbers.push(number);
    found++;
  }
  return numbers.sort((a, b) => a - b);
}

/** The task that a slot is about now: the newest of the service's present spec, else the newest live one, else the newest. */
export function currentOf(slot: Slot, service: Service): Task | undefined {
  // Nearly every slot has one task.
  if (slot.length === 1) return slot[0]?.desiredState === 'remove' ? undefined : slot[0];
  const kept = slot.filter((task) => task.desiredState !== 'remove');
  return kept.findLast((task) => task.specVersion === service.specVersion) ?? kept.findLast(isLive) ?? kept.at(-1);
}
