import { isTelling } from '../../tscompose/containers/describe.ts';
import type { Node, Task } from '../../../proto/types/index.ts';
import { fingerprint, keysOf } from '../../../worker/overlay/tunnels/keys.ts';

/** "ready" → "Ready". */
export const capital = (word: string): string => word.slice(0, 1).toUpperCase() + word.slice(1);

/** Why a task has failed, or what it waits for before it can start; empty: neither. */
export function troubleOf({ status, held }: Task): string {
  if (status.error !== '') return status.error;
  const isWaiting = held || status.state === 'new' || status.state === 'pending';
  return isWaiting && isTelling(status.message) ? status.message : '';
}

/** In the order that people count in: m2 before m10. */
export const byName = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

/** Keys of a node for encrypted networks, the oldest first: two while one is rotated. */
export const keysShown = ({ description: { overlay } }: Node) =>
  (overlay === undefined ? [] : keysOf(overlay)).map(({ publicKey, madeAt }) => ({
    Fingerprint: fingerprint(publicKey),
    ...(madeAt === 0 ? {} : { Since: new Date(madeAt).toISOString() }),
  }));
