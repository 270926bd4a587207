/** Encryption at rest: sealed bytes, the keys they are sealed with, and the unlock key that seals those (autolock). */
export { dropOldDeks, isLocked, lockDekRing, newDekRing, rotateDek, unlockDekRing } from './dek.ts';
export type { DekRing } from './dek.ts';
export { dekDisk } from './disk.ts';
export type { DekDisk } from './disk.ts';
export { KEY_BYTES, SEAL_OVERHEAD_BYTES, keyIdOf, sealer } from './sealer.ts';
export type { Sealer } from './sealer.ts';
export { newUnlockKey, parseUnlockKey } from './unlock-key.ts';
