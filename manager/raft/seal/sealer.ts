import { createCipheriv, createDecipheriv, createHash, createSecretKey, hkdfSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { TsswarmError } from '../../../base/errors.ts';
import type { Random } from '../../../base/random.ts';

/** AES-256. */
export const KEY_BYTES = 32;

const VERSION = 1;
const KEY_ID_BYTES = 8;
const SALT_BYTES = 16;
const COUNTER_BYTES = 6;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const NOTHING = Buffer.alloc(0);
const SALT_AT = 1 + KEY_ID_BYTES;
const COUNTER_AT = SALT_AT + SALT_BYTES;
const HEADER_BYTES = COUNTER_AT + COUNTER_BYTES;
/** Message keys kept for opening: each start of the daemon sealed under a salt of its own. */
const CACHED_SALTS = 64;

/** How many bytes longer sealed bytes are. */
export const SEAL_OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES;

/** Seals bytes at rest: unreadable and unchangeable without the key. */
export interface Sealer {
  /** Of the key that seals now, hex. */
  readonly keyId: string;
  /**
   * @param context must be the same at opening, and is not stored: where the bytes belong, as index and term of an entry
   * @param room bytes left free in front of the sealed ones, for a header of the caller: saves a copy
   */
  seal(plain: Uint8Array, context?: Uint8Array, room?: number): Buffer;
  /**
   * The result shares no memory with what was given.
   * @throws PERMISSION_DENIED when no key here sealed them; CORRUPT when they or their context were changed
   */
  open(sealed: Uint8Array, context?: Uint8Array): Buffer;
}

/**
 * AES-256-GCM. Each sealer draws a salt, derives a message key from it (HKDF, RFC 5869), and counts nonces under that:
 * a log may hold any number of entries, rewritten any number of times, and no nonce ever comes twice (random ones would
 * end at 2^32 entries, NIST SP 800-38D).
 *
 * Layout: version 1 B, key id 8 B, salt 16 B, counter 6 B, ciphertext, tag 16 B; all before the ciphertext is
 * authenticated with it.
 * @param keys the first seals; every one opens. Each 32 bytes of randomness
 */
export function sealer(keys: Uint8Array | readonly Uint8Array[], random: Random): Sealer {
  const ring = new Map((keys instanceof Uint8Array ? [keys] : keys).map((key) => [keyIdOf(key), key]));
  const [first] = ring;
  if (first === undefined) throw new TsswarmError('INTERNAL', 'making a sealer: there is no key');
  const [keyId, key] = first;
  const salt = Buffer.from(random.bytes(SALT_BYTES));
  const messageKey = derive(key, salt);
  const prefix = Buffer.concat([Buffer.of(VERSION), Buffer.from(keyId, 'hex'), salt]);
  const derived = new Map<string, KeyObject>();
  let counter = 0;

  const keyFor = (id: string, otherSalt: Buffer): KeyObject => {
    const name = id + otherSalt.toString('hex');
    const known = derived.get(name);
    if (known !== undefined) return known;
    const root = ring.get(id);
    if (root === undefined) {
      throw new TsswarmError(
        'PERMISSION_DENIED',
        `opening sealed bytes: they were sealed with the key "${id}", which is not here`,
        {
          hint: 'check that the unlock key is the one printed last: tsswarm unlock-key',
        },
      );
    }
    const fresh = derive(root, otherSalt);
    const oldest = derived.keys().next().value;
    if (derived.size >= CACHED_SALTS && oldest !== undefined) derived.delete(oldest);
    derived.set(name, fresh);
    return fresh;
  };

  return {
    keyId,
    seal(plain, context = NOTHING, room = 0) {
      const sealed = Buffer.allocUnsafe(room + plain.length + SEAL_OVERHEAD_BYTES);
      const header = sealed.subarray(room, room + HEADER_BYTES);
      prefix.copy(header);
      header.writeUIntBE(counter++, COUNTER_AT, COUNTER_BYTES);
      const cipher = createCipheriv('aes-256-gcm', messageKey, nonceOf(header));
      cipher.setAAD(Buffer.concat([header, context]));
      cipher.update(plain).copy(sealed, room + HEADER_BYTES);
      cipher.final();
      cipher.getAuthTag().copy(sealed, sealed.length - TAG_BYTES);
      return sealed;
    },
    open(sealed, context = NOTHING) {
      const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
      if (bytes.length < SEAL_OVERHEAD_BYTES || bytes[0] !== VERSION)
        throw new TsswarmError('CORRUPT', 'opening sealed bytes: they are none, or of another version');
      const header = bytes.subarray(0, HEADER_BYTES);
      const id = header.toString('hex', 1, SALT_AT);
      const decipher = createDecipheriv(
        'aes-256-gcm',
        keyFor(id, header.subarray(SALT_AT, COUNTER_AT)),
        nonceOf(header),
      );
      decipher.setAAD(Buffer.concat([header, context]));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      try {
        // A stream cipher: all of it comes with the update, and counts only when the tag is right.
        const plain = decipher.update(bytes.subarray(HEADER_BYTES, -TAG_BYTES));
        decipher.final();
        return plain;
      } catch (cause) {
        throw new TsswarmError('CORRUPT', 'opening sealed bytes: they, or the place they belong to, were changed', {
          cause,
        });
      }
    },
  };
}

/** Id of the key that sealed these bytes, hex; undefined: they are not sealed. */
export function sealedBy(sealed: Uint8Array): string | undefined {
  if (sealed.length < SEAL_OVERHEAD_BYTES || sealed[0] !== VERSION) return undefined;
  return Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength).toString('hex', 1, SALT_AT);
}

/** A name for a key that tells nothing about it: 8 bytes of a hash, hex. */
export function keyIdOf(key: Uint8Array): string {
  if (key.length !== KEY_BYTES)
    throw new TsswarmError('INTERNAL', `using a key of ${key.length} bytes: expected ${KEY_BYTES}`);
  return createHash('sha256')
    .update('tsswarm key id')
    .update(key)
    .digest('hex')
    .slice(0, 2 * KEY_ID_BYTES);
}

/** As a key object: with the bytes of a key each cipher takes three times as long to make. */
function derive(key: Uint8Array, salt: Uint8Array): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync('sha256', key, salt, 'tsswarm message key', KEY_BYTES)));
}

function nonceOf(header: Buffer): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES);
  header.copy(nonce, NONCE_BYTES - COUNTER_BYTES, COUNTER_AT, HEADER_BYTES);
  return nonce;
}
