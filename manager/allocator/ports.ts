import type { PublishedPort, Service, Task } from '../../proto/types/index.ts';
import { PortBook, choosePort, isChoiceOf } from '../model/ports.ts';
import { isFinal } from '../model/task-state.ts';

/** All ports that services and single tasks have. */
export function portsInUse(services: readonly Service[], tasks: readonly Task[]): PortBook {
  const used = new PortBook();
  for (const service of services) for (const port of service.ports) used.add(port);
  for (const task of tasks) if (!isFinal(task)) for (const port of task.ports) used.add(port);
  return used;
}

/**
 * The ports as they shall be published: of open ones (any, or one out of a range) that every node answers on, a free one each, if it can be
 * the one that it was. Those of single nodes are left as they are: the scheduler chooses for each task.
 * @returns the wish for which none is free
 */
export function allocatePorts(
  wanted: readonly PublishedPort[],
  had: readonly PublishedPort[],
  used: PortBook,
): { readonly ports: readonly PublishedPort[] } | { readonly lacking: PublishedPort } {
  const result: PublishedPort[] = [];
  const spare = [...had];
  for (const wish of wanted) {
    const kept = wish.mode === 'host' ? -1 : spare.findIndex((old) => isChoiceOf(wish, old));
    const [old] = kept < 0 ? [] : spare.splice(kept, 1);
    const port = wish.mode === 'host' ? wish : (old ?? choosePort(wish, (one) => used.has(one)));
    if (port === undefined) return { lacking: wish };
    used.add(port);
    result.push(port);
  }
  return { ports: result };
}

/** Whether allocated ports still are what the spec asks for. */
export function portsMatch(wanted: readonly PublishedPort[], allocated: readonly PublishedPort[]): boolean {
  if (wanted.length !== allocated.length) return false;
  return wanted.every((port, i) => {
    const other = allocated[i];
    if (other === undefined) return false;
    return port.mode === 'host' ? samePort(port, other) : isChoiceOf(port, other);
  });
}

const samePort = (a: PublishedPort, b: PublishedPort): boolean =>
  a.mode === b.mode &&
  a.target === b.target &&
  a.protocol === b.protocol &&
  a.hostIp === b.hostIp &&
  a.published === b.published &&
  a.publishedEnd === b.publishedEnd;
