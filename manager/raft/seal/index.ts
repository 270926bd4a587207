/** Encryption at rest: sealed bytes, the keys they are sealed with, and the unlock key that seals those (autolock). */
export { dropOldDeks, lockDekRing, lockOf, newDekRing, rotateDek, unlockDekRing } from './dek.ts';
export type { DekRing } from './dek.ts';
export { dekDisk } from './disk.ts';
export type { DekDisk } from './disk.ts';
export { KEY_BYTES, SEAL_OVERHEAD_BYTES, keyIdOf, sealedBy, sealer } from './sealer.ts';
export type { Sealer } from './sealer.ts';
export { newUnlockKey, parseUnlockKey } from './unlock-key.ts';
export { openVault } from './vault.ts';
export type { Vault } from './vault.ts';
