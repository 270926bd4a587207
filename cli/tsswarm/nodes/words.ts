import type { Node } from '../../../proto/types/index.ts';
import { fingerprint, keysOf } from '../../../worker/overlay/tunnels/keys.ts';

/** "ready" → "Ready". */
export const capital = (word: string): string => word.slice(0, 1).toUpperCase() + word.slice(1);

/** In the order that people count in: m2 before m10. */
export const byName = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

/** Keys of a node for encrypted networks, the oldest first: two while one is rotated. */
export const keysShown = ({ description: { overlay } }: Node) =>
  (overlay === undefined ? [] : keysOf(overlay)).map(({ publicKey, madeAt }) => ({
    Fingerprint: fingerprint(publicKey),
    ...(madeAt === 0 ? {} : { Since: new Date(madeAt).toISOString() }),
  }));
