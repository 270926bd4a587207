import { randomBytes } from 'node:crypto';

/** Randomness as a parameter: seedable in tests and simulations, the kernel's in production. */
export interface Random {
  /** A number in [0, 1). */
  next(): number;
  /** `length` random bytes. */
  bytes(length: number): Uint8Array;
}

/** A number takes this much of the pool: Raft draws one for each message, and a call for each would cost more than the rest. */
const NUMBER_BYTES = 6;
let pool = Buffer.alloc(0);
let at = 0;

/** The kernel's randomness; its bytes are fit for keys and ids. */
export const systemRandom: Random = {
  next() {
    if (at === pool.length) {
      pool = randomBytes(NUMBER_BYTES * 512);
      at = 0;
    }
    at += NUMBER_BYTES;
    return pool.readUIntBE(at - NUMBER_BYTES, NUMBER_BYTES) / 2 ** (8 * NUMBER_BYTES);
  },
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
