import { BLOCK, headerChecksum, padding } from './tar-entry.ts';
import type { TarEntry, TarEntryType } from './tar-entry.ts';

const FLAGS: Readonly<Record<TarEntryType, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  dir: '5',
  fifo: '6',
};
/** Highest numbers that fit: 7 octal digits for mode, uid, gid and device numbers, 11 for size and time. */
const MAX_7 = 0o7777777;
const MAX_11 = 0o77777777777;
const NANOS = 1_000_000_000n;

/** Two blocks of zeros: the end of an archive. */
export const TAR_END: Uint8Array = new Uint8Array(2 * BLOCK);

/** Zeros that follow `size` bytes of content. */
export function tarPadding(size: number): Uint8Array {
  return new Uint8Array(padding(size));
}

/**
 * The header blocks of an entry: plain ustar where everything fits, preceded by a pax header where it does not (long or
 * non-ASCII names, big numbers, parts of seconds, extended attributes). The same entry always gives the same bytes: pax
 * keys are sorted and no process id, user name or time of writing goes in.
 */
export function tarHeader(entry: TarEntry): Buffer {
  const records = new Map<string, Uint8Array>();
  const text = (key: string, value: string): void => void records.set(key, Buffer.from(value));
  if (entry.path.length > 100 || !isAscii(entry.path)) records.set('path', entry.path);
  if (entry.linkPath.length > 100 || !isAscii(entry.linkPath)) records.set('linkpath', entry.linkPath);
  if (entry.size > MAX_11) text('size', String(entry.size));
  if (entry.uid > MAX_7) text('uid', String(entry.uid));
  if (entry.gid > MAX_7) text('gid', String(entry.gid));
  const seconds = entry.mtimeNs / NANOS;
  if (entry.mtimeNs < 0n || entry.mtimeNs % NANOS !== 0n || seconds > MAX_11) text('mtime', decimal(entry.mtimeNs));
  for (const [name, value] of entry.xattrs ?? []) records.set(`SCHILY.xattr.${name}`, value);
  const main = block(entry, FLAGS[entry.type], entry.mtimeNs < 0n ? 0 : Math.min(Number(seconds), MAX_11));
  if (records.size === 0) return main;
  const body = Buffer.concat(
    [...records].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => record(key, value)),
  );
  const pax = block({ ...PAX_ENTRY, size: body.length }, 'x', 0);
  return Buffer.concat([pax, body, tarPadding(body.length), main]);
}

const PAX_ENTRY: TarEntry = {
  type: 'file',
  path: Buffer.from('PaxHeaders/entry'),
  linkPath: Buffer.alloc(0),
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtimeNs: 0n,
  major: 0,
  minor: 0,
  xattrs: undefined,
};

function block(entry: TarEntry, flag: string, mtime: number): Buffer {
  const header = Buffer.alloc(BLOCK);
  entry.path.copy(header, 0, 0, 100);
  octal(header, 100, 8, entry.mode);
  octal(header, 108, 8, Math.min(entry.uid, MAX_7));
  octal(header, 116, 8, Math.min(entry.gid, MAX_7));
  octal(header, 124, 12, Math.min(entry.size, MAX_11));
  octal(header, 136, 12, mtime);
  header.write(flag, 156, 'latin1');
  entry.linkPath.copy(header, 157, 0, 100);
  header.write('ustar\x0000', 257, 'latin1');
  octal(header, 329, 8, entry.major);
  octal(header, 337, 8, entry.minor);
  header.write(headerChecksum(header).toString(8).padStart(6, '0') + '\0 ', 148, 'latin1');
  return header;
}

function octal(header: Buffer, offset: number, length: number, value: number): void {
  header.write(value.toString(8).padStart(length - 1, '0'), offset, 'latin1');
}

/** "LENGTH KEY=VALUE\n", where LENGTH counts its own digits. */
function record(key: string, value: Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), value, Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function decimal(ns: bigint): string {
  const positive = ns < 0n ? -ns : ns;
  const fraction = (positive % NANOS).toString().padStart(9, '0').replace(/0+$/, '');
  return `${ns < 0n ? '-' : ''}${positive / NANOS}${fraction === '' ? '' : `.${fraction}`}`;
}

function isAscii(bytes: Buffer): boolean {
  return bytes.every((byte) => byte < 0x80);
}
