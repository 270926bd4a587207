import type { Random } from '../../../base/random.ts';
import { dropOldDeks, rotateDek } from './dek.ts';
import type { DekRing } from './dek.ts';
import type { DekDisk } from './disk.ts';
import { keyIdOf, sealer } from './sealer.ts';
import type { Sealer } from './sealer.ts';

/** The data-encryption keys of a manager that runs: seals with the newest, opens with all, and locks them on disk. */
export interface Vault extends Sealer {
  /** Id of the key that is needed to read the keys on disk; undefined: none, file mode alone guards them. */
  readonly lockedBy: string | undefined;
  /** Raft index of the cluster object that the lock follows; 0: none yet. */
  readonly lockIndex: number;
  /** Something may still be sealed with a key that was rotated out. */
  readonly hasOldKeys: boolean;
  /**
   * Makes a new key, and locks all of them on disk; both hold when it returns.
   * @param kek from the unlock key; undefined: not locked
   * @param lockIndex the cluster object that says so
   */
  relock(kek: Uint8Array | undefined, lockIndex: number): void;
  /** Forgets all keys but the newest: nothing may be sealed with them any more. On disk when it returns. */
  dropOldKeys(): void;
}

/**
 * Opens the keys, or makes the first.
 * @param kek from the unlock key, if one was given
 * @throws LOCKED, PERMISSION_DENIED, CORRUPT as unlockDekRing
 */
export function openVault(disk: DekDisk, kek: Uint8Array | undefined, random: Random): Vault {
  let ring = disk.load(kek);
  // A key that was given and is not needed must not lock anything.
  let lock = disk.lock() === undefined ? undefined : kek;
  let current = sealer(ring.keys, random);
  const take = (next: DekRing, nextLock: Uint8Array | undefined): void => {
    // On disk before anything is sealed with it.
    disk.save(next, nextLock);
    ring = next;
    lock = nextLock;
    current = sealer(ring.keys, random);
  };
  return {
    get keyId() {
      return current.keyId;
    },
    seal: (plain, context, room) => current.seal(plain, context, room),
    open: (sealed, context) => current.open(sealed, context),
    get lockedBy() {
      return lock === undefined ? undefined : keyIdOf(lock);
    },
    get lockIndex() {
      return ring.lockIndex ?? 0;
    },
    get hasOldKeys() {
      return ring.keys.length > 1;
    },
    relock: (next, lockIndex) => take({ ...rotateDek(ring, random), lockIndex }, next),
    dropOldKeys: () => take(dropOldDeks(ring), lock),
  };
}
