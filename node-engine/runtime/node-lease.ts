import { closeSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs';
import { errnoOf } from '../../base/errors.ts';
import type { NodeLease } from '../types.ts';

/** As in `native/launcher/lease.c`: eight bytes for the end, ms since the boot; then what names the boot. */
const END_BYTES = 8;
const NEVER = 0xffff_ffff_ffff_ffffn;

/**
 * The node's lease in a file that supervisors look at. It is written in place: they have it open. One of an earlier boot, where the
 * folder outlives a boot, says nothing.
 * @param now milliseconds since the boot
 */
export function openNodeLease(path: string, now: () => number): NodeLease {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id');
  const file = openFile(path, boot);
  return {
    now,
    read() {
      const bytes = Buffer.alloc(END_BYTES);
      if (readSync(file, bytes, 0, END_BYTES, 0) !== END_BYTES) return undefined;
      const end = bytes.readBigUInt64LE();
      if (end === 0n) return undefined;
      return end === NEVER ? Infinity : Number(end);
    },
    set(end) {
      const bytes = Buffer.alloc(END_BYTES);
      // Both architectures that the launcher is built for are little endian.
      bytes.writeBigUInt64LE(end === Infinity ? NEVER : BigInt(Math.floor(end)));
      writeSync(file, bytes, 0, END_BYTES, 0);
    },
  };
}

function openFile(path: string, boot: Buffer): number {
  try {
    const file = openSync(path, 'r+');
    const known = Buffer.alloc(boot.length);
    readSync(file, known, 0, boot.length, END_BYTES);
    if (known.equals(boot)) return file;
    closeSync(file);
    rmSync(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  const file = openSync(path, 'wx+', 0o600);
  writeSync(file, Buffer.concat([Buffer.alloc(END_BYTES), boot]), 0, END_BYTES + boot.length, 0);
  return file;
}
