import type { PublishedPort, Service, Task } from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';

/** Swarm's range for ports that the user left open. */
const FIRST_DYNAMIC_PORT = 30000;
const LAST_DYNAMIC_PORT = 32767;

const key = (port: PublishedPort): string => `${port.protocol}/${port.published}`;

/** All ports that services and single tasks hold. */
export function portsInUse(services: readonly Service[], tasks: readonly Task[]): Set<string> {
  const used = new Set<string>();
  for (const service of services) for (const port of service.ports) used.add(key(port));
  for (const task of tasks) if (!isFinal(task)) for (const port of task.ports) used.add(key(port));
  return used;
}

/**
 * The ports as they shall be published: open ones (published 0) get a free port of the dynamic range, and keep the one
 * they had. Undefined when the range is used up.
 */
export function allocatePorts(
  wanted: readonly PublishedPort[],
  had: readonly PublishedPort[],
  used: Set<string>,
): readonly PublishedPort[] | undefined {
  const result: PublishedPort[] = [];
  const spare = [...had];
  for (const port of wanted) {
    if (port.published !== 0) {
      result.push(port);
      used.add(key(port));
      continue;
    }
    const kept = spare.findIndex(
      (old) => old.published >= FIRST_DYNAMIC_PORT && old.target === port.target && old.protocol === port.protocol,
    );
    const [old] = kept < 0 ? [] : spare.splice(kept, 1);
    const published = old?.published ?? freePort(port, used);
    if (published === undefined) return undefined;
    const allocated = { ...port, published };
    used.add(key(allocated));
    result.push(allocated);
  }
  return result;
}

function freePort(port: PublishedPort, used: ReadonlySet<string>): number | undefined {
  for (let published = FIRST_DYNAMIC_PORT; published <= LAST_DYNAMIC_PORT; published++) {
    if (!used.has(key({ ...port, published }))) return published;
  }
  return undefined;
}

/** Whether allocated ports still are what the spec asks for. */
export function portsMatch(wanted: readonly PublishedPort[], allocated: readonly PublishedPort[]): boolean {
  if (wanted.length !== allocated.length) return false;
  return wanted.every((port, i) => {
    const other = allocated[i];
    return (
      other !== undefined &&
      port.target === other.target &&
      port.protocol === other.protocol &&
      port.mode === other.mode &&
      port.hostIp === other.hostIp &&
      port.source === other.source &&
      (port.published === 0 ? other.published >= FIRST_DYNAMIC_PORT : port.published === other.published)
    );
  });
}
