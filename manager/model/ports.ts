import { addressesClash } from '../../base/host-address.ts';
import type { PublishedPort } from '../../proto/types/index.ts';

/** Whether two ports cannot be published on the same machine. One that is still to be chosen clashes with none. */
export const portsClash = (a: PublishedPort, b: PublishedPort): boolean =>
  a.published !== 0 && a.published === b.published && a.protocol === b.protocol && addressesClash(a.hostIp, b.hostIp);
