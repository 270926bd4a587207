import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * How many addresses the kernel may know neighbours of, in all network namespaces together: gc_thresh1, 2 and 3 of arp(7). Beyond the third (1024
 * where nobody says otherwise) packets are dropped: a hundred containers that talk to ten others each are there.
 */
const LIMITS = { gc_thresh3: 65_536, gc_thresh2: 32_768, gc_thresh1: 8192 } as const;

/**
 * Raises the limits where they are lower. Only the machine's own namespace has them; a node in another one takes what it is given.
 * @param settings folder of the kernel's settings, "/proc/sys/net"
 * @returns puts back what was there
 * @throws a system error where they cannot be written
 */
export function raiseNeighbourLimits(settings: string): () => void {
  const raised: { readonly path: string; readonly before: number }[] = [];
  for (const family of ['ipv4', 'ipv6']) {
    for (const [name, limit] of Object.entries(LIMITS)) {
      const path = join(settings, family, 'neigh', 'default', name);
      const now = read(path);
      if (now === undefined || now >= limit) continue;
      writeFileSync(path, String(limit));
      raised.push({ path, before: now });
    }
  }
  return () => {
    for (const { path, before } of raised.reverse()) writeFileSync(path, String(before));
  };
}

function read(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}
