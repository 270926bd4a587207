import type { Service, Task } from '../../proto/types/index.ts';
import { isLive } from './task-state.ts';

/** All tasks of one slot, oldest first. */
export type Slot = readonly Task[];

/** The tasks of a service by slot number, one-off tasks and those on their way out left aside. */
export function slotsOf(tasks: readonly Task[]): ReadonlyMap<number, Slot> {
  const slots = new Map<number, Task[]>();
  for (const task of tasks) {
    if (task.oneOff) continue;
    const slot = slots.get(task.slot);
    if (slot === undefined) slots.set(task.slot, [task]);
    else slot.push(task);
  }
  return slots;
}

/** The task that a slot is about now: the newest of the service's present spec, else the newest live one, else the newest. */
export function currentOf(slot: Slot, service: Service): Task | undefined {
  const kept = slot.filter((task) => task.desiredState !== 'remove');
  return kept.findLast((task) => task.specVersion === service.specVersion) ?? kept.findLast(isLive) ?? kept.at(-1);
}
