import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import type { Random } from '../../../base/random.ts';
import { KEY_BYTES, keyIdOf, sealer } from './sealer.ts';

/** The data-encryption keys of a manager: the first seals, the others still open what was sealed before a rotation. */
export interface DekRing {
  readonly keys: readonly Uint8Array[];
  /**
   * Raft index of the cluster object whose autolock the ring follows; absent: none yet. A start replays older states of the
   * cluster, with unlock keys that hold no more: they must not be followed again.
   */
  readonly lockIndex?: number;
}

/** A ring as it lies on disk: its keys in base64, sealed by the unlock key where the cluster is locked. */
interface StoredRing {
  readonly version: 1;
  /** Key id of the key-encryption key; absent: not locked. */
  readonly lockedBy?: string;
  readonly lockIndex?: number;
  readonly keys: readonly string[];
}

/** Context of a sealed key: nothing else that the unlock key seals can be taken for one. */
const CONTEXT = Buffer.from('tsswarm dek');

/** A ring with one new key. */
export function newDekRing(random: Random): DekRing {
  return { keys: [random.bytes(KEY_BYTES)] };
}

/** From now on a new key seals; the old ones stay until {@link dropOldDeks}. To be stored before it is used. */
export function rotateDek(ring: DekRing, random: Random): DekRing {
  return { ...ring, keys: [random.bytes(KEY_BYTES), ...ring.keys] };
}

/** Forgets the old keys, once a snapshot that the newest key sealed covers everything that they did. */
export function dropOldDeks(ring: DekRing): DekRing {
  return { ...ring, keys: ring.keys.slice(0, 1) };
}

/**
 * The ring as bytes for the disk.
 * @param kek from the unlock key (autolock); absent: not locked, file mode alone guards it
 */
export function lockDekRing({ keys, lockIndex }: DekRing, kek: Uint8Array | undefined, random: Random): Uint8Array {
  const seal = kek === undefined ? undefined : sealer(kek, random);
  const stored: StoredRing = {
    version: 1,
    ...(seal === undefined ? {} : { lockedBy: seal.keyId }),
    ...(lockIndex === undefined ? {} : { lockIndex }),
    keys: keys.map((key) => Buffer.from(seal?.seal(key, CONTEXT) ?? key).toString('base64')),
  };
  return Buffer.from(`${JSON.stringify(stored)}\n`);
}

/** Id of the key that is needed to read the bytes; undefined: none. @throws CORRUPT */
export function lockOf(bytes: Uint8Array): string | undefined {
  return parseStored(bytes).lockedBy;
}

/**
 * The ring from its bytes.
 * @param kek from the unlock key; absent: none was given yet
 * @throws LOCKED when no key was given, PERMISSION_DENIED when it is another one; CORRUPT
 */
export function unlockDekRing(bytes: Uint8Array, kek: Uint8Array | undefined, random: Random): DekRing {
  const { lockedBy, keys, lockIndex } = parseStored(bytes);
  const since = lockIndex === undefined ? {} : { lockIndex };
  const raw = keys.map((key) => new Uint8Array(Buffer.from(key, 'base64')));
  if (lockedBy === undefined) return { ...checked(raw), ...since };
  if (kek === undefined) {
    throw new TsswarmError('LOCKED', 'unlocking the manager: it is locked, expected its unlock key', {
      hint: 'tsswarm unlock; another manager shows the key: tsswarm unlock-key',
    });
  }
  if (keyIdOf(kek) !== lockedBy) {
    throw new TsswarmError('PERMISSION_DENIED', 'unlocking the manager: the unlock key is wrong', {
      hint: 'another manager shows the one that holds (tsswarm unlock-key); a node that was down when it was rotated has the one before',
    });
  }
  const { open } = sealer(kek, random);
  return { ...checked(raw.map((sealed) => new Uint8Array(open(sealed, CONTEXT)))), ...since };
}

function checked(keys: readonly Uint8Array[]): DekRing {
  if (keys.length > 0 && keys.every((key) => key.length === KEY_BYTES)) return { keys };
  throw corrupt();
}

function parseStored(bytes: Uint8Array): StoredRing {
  try {
    const stored = JSON.parse(Buffer.from(bytes).toString()) as Partial<StoredRing>;
    if (stored.version === 1 && Array.isArray(stored.keys)) return stored as StoredRing;
  } catch (error) {
    if (isTsswarmError(error)) throw error;
  }
  throw corrupt();
}

function corrupt(): TsswarmError {
  return new TsswarmError('CORRUPT', 'reading the data-encryption keys: the file is damaged', {
    hint: 'restore it from a backup; without it the log of this manager cannot be read: leave and join it anew',
  });
}
