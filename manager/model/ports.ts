import type { PublishedPort } from '../../proto/types/index.ts';

const isAny = (hostIp: string): boolean => hostIp === '' || hostIp === '0.0.0.0' || hostIp === '::';

/** Whether two ports cannot be published on the same machine. One that is still to be chosen clashes with none. */
export const portsClash = (a: PublishedPort, b: PublishedPort): boolean =>
  a.published !== 0 &&
  a.published === b.published &&
  a.protocol === b.protocol &&
  (a.hostIp === b.hostIp || isAny(a.hostIp) || isAny(b.hostIp));
