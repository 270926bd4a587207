import { randomBytes } from 'node:crypto';

/** Randomness as a parameter: seedable in tests and simulations, the kernel's in production. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** `length` random bytes. */
  bytes(length: number): Uint8Array;
}

/** The kernel's randomness, fit for keys and ids. */
export const systemRandom: Random = {
  next: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  bytes: (length) => new Uint8Array(randomBytes(length)),
};

/**
 * A reproducible generator (sfc32), the same sequence for the same seed on every machine. Not for secrets.
 * @param seed any 32-bit integer
 */
export function seededRandom(seed: number): Random {
  let a = 0x9e3779b9 ^ seed;
  let b = 0x243f6a88;
  let c = 0xb7e15162;
  let counter = 1;
  const word = (): number => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i++) word();
  return {
    next: () => word() / 2 ** 32,
    bytes: (length) => Uint8Array.from({ length }, () => word() & 0xff),
  };
}

/** `value` moved by a random share of at most `ratio` up or down, so that many nodes do not act in step. */
export function jitter(random: Random, value: number, ratio: number): number {
  return value * (1 + ratio * (2 * random.next() - 1));
}
