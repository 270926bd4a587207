import type { Random } from '../../base/random.ts';
import { dekDisk, openVault } from '../../manager/raft/seal/index.ts';
import type { Vault } from '../../manager/raft/seal/index.ts';
import { dekFile } from '../../manager/store/index.ts';
import type { KeyProtection } from '../../worker/identity/index.ts';

/** The keys that a manager seals its disk with, and whether they are at hand. A worker has none. */
export interface NodeLock {
  /** The keys are there, and the unlock key is needed to read them. */
  isLocked(): boolean;
  /** Id of the unlock key that locks the keys on disk, though they may be at hand; undefined: they lie open. */
  lockedBy(): string | undefined;
  /** @throws PERMISSION_DENIED when the key is wrong; CORRUPT */
  unlock(kek: Uint8Array): void;
  /** The keys of a manager; the first time, new ones. @throws LOCKED, CORRUPT */
  vault(): Vault;
  /** What seals the node's private key, while it is a manager that is locked. */
  protection(): KeyProtection | undefined;
  /**
   * The node is no manager any more: its private key is to lie open before the keys go.
   * @param reseal seals or opens the private key as `protection` says then
   */
  release(reseal: () => Promise<void>): Promise<void>;
}

/** @param dir of the manager's state */
export function nodeLock(dir: string, random: Random): NodeLock {
  const disk = dekDisk(dekFile(dir), random);
  let vault: Vault | undefined;
  let released = false;
  const known = (): Vault | undefined => {
    if (vault === undefined && disk.exists() && disk.lock() === undefined) vault = openVault(disk, undefined, random);
    return vault;
  };
  return {
    isLocked: () => known() === undefined && disk.exists(),
    lockedBy: () => (vault === undefined ? disk.lock() : vault.lockedBy),
    unlock(kek) {
      vault = openVault(disk, kek, random);
    },
    vault: () => (vault ??= openVault(disk, undefined, random)),
    protection() {
      const keys = known();
      if (keys === undefined) return undefined;
      return { active: !released && keys.lockedBy !== undefined, seal: keys.seal, open: keys.open };
    },
    async release(reseal) {
      released = true;
      await reseal();
      vault = undefined;
      released = false;
    },
  };
}
