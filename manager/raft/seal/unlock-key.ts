import { TsswarmError } from '../../../base/errors.ts';
import type { Random } from '../../../base/random.ts';
import { KEY_BYTES } from './sealer.ts';

const PREFIX = 'SWMKEY-1-';

/** A new unlock key in swarmkit's form: `SWMKEY-1-` and 32 random bytes in base64 without padding. Shown once, stored nowhere on a locked node. */
export function newUnlockKey(random: Random): string {
  return PREFIX + Buffer.from(random.bytes(KEY_BYTES)).toString('base64').replace(/=+$/, '');
}

/**
 * The key-encryption key in an unlock key.
 * @throws INVALID_INPUT when `text` is no unlock key
 */
export function parseUnlockKey(text: string): Uint8Array {
  const [, digits] = /^SWMKEY-1-([A-Za-z0-9+/]{43})$/.exec(text.trim()) ?? [];
  if (digits !== undefined) return new Uint8Array(Buffer.from(digits, 'base64'));
  throw new TsswarmError('INVALID_INPUT', `reading the unlock key: malformed, expected ${PREFIX}<43 characters>`, {
    hint: 'print it with "tsswarm unlock-key" on a manager that is not locked, and copy the whole line',
  });
}
