import type { Task, TaskAddress } from '../../proto/types/index.ts';

type Addressed = Pick<Task, 'addresses' | 'changing'>;

/** What a task had before the change of its networks that is under way; empty: its addresses stay as they are. */
const formerOf = ({ changing }: Addressed): readonly TaskAddress[] => changing?.addresses ?? [];

const isSame = (a: TaskAddress, b: TaskAddress): boolean =>
  a.networkId === b.networkId && a.ipv4 === b.ipv4 && a.ipv6 === b.ipv6;

/**
 * All addresses that the container of a task may have: those that it shall have, and, until its node has said that it was changed,
 * those that it had before. Nobody else gets any of them.
 */
export function heldAddresses(task: Addressed): readonly TaskAddress[] {
  const going = goingAddresses(task);
  return going.length === 0 ? task.addresses : [...task.addresses, ...going];
}

/** The addresses at which the container of a task is reached: while it is being changed, those that it has before and after. */
export function steadyAddresses(task: Addressed): readonly TaskAddress[] {
  const former = formerOf(task);
  if (former.length === 0) return task.addresses;
  return task.addresses.filter((one) => former.some((other) => isSame(one, other)));
}

/** The addresses that the container of a task has and shall not have any more. */
export const goingAddresses = (task: Addressed): readonly TaskAddress[] => {
  const { addresses } = task;
  return formerOf(task).filter((one) => !addresses.some((other) => isSame(one, other)));
};

/** Whether a task may be on a network. */
export const isOnNetwork = (task: Addressed, id: string): boolean =>
  heldAddresses(task).some(({ networkId }) => networkId === id);
