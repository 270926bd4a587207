import type { IngressPort, Task } from '../../../proto/types/index.ts';

/** A container without a health check is taken for running at the latest so long after its start, ms. */
const LONGEST_MS = 3_000;
/** And so long after the first of its ports was listened to, ms: the others may be of no use to it. */
const OTHERS_MS = 500;

/**
 * The TCP ports of a task that others are led to by published ports: who is led there before it listens is refused. A container of
 * `run` is asked for by a person who looks at it: nothing is waited for.
 * @param ingress the ports that the node knows of, with their services
 */
export function awaitedPorts(task: Task, ingress: Iterable<IngressPort>): readonly number[] {
  if (task.oneOff || task.spec.networkMode !== 'networks') return [];
  const ofService = [...ingress].filter(({ serviceId }) => serviceId === task.serviceId).map(({ port }) => port);
  const ports = [...task.ports, ...ofService].filter(({ protocol }) => protocol === 'tcp');
  return [...new Set(ports.map(({ target }) => target))];
}

/**
 * Whether it is waited no longer.
 * @param found ports that are listened to
 * @param waitedMs since the start
 * @param firstMs since the first of the ports was seen to be listened to; undefined: none is yet
 */
export function isReady(
  ports: readonly number[],
  found: ReadonlySet<number>,
  waitedMs: number,
  firstMs: number | undefined,
): boolean {
  return ports.every((port) => found.has(port)) || waitedMs >= LONGEST_MS || (firstMs ?? 0) >= OTHERS_MS;
}
