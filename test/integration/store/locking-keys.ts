import { createHash } from 'node:crypto';
import { keyIdOf } from '../../../manager/raft/seal/index.ts';

/** Different keys that a test and its child process both know; undefined, now and then: not locked. */
export function kekOf(number: number): Uint8Array | undefined {
  return number % 5 === 0
    ? undefined
    : new Uint8Array(
        createHash('sha256')
          .update(`key ${number % 7}`)
          .digest(),
      );
}

/** The key with that id. */
export function kekThatFits(id: string | undefined): Uint8Array | undefined {
  if (id === undefined) return undefined;
  for (let number = 1; number <= 35; number++) {
    const kek = kekOf(number);
    if (kek !== undefined && keyIdOf(kek) === id) return kek;
  }
  throw new Error(`no key has the id ${id}`);
}
