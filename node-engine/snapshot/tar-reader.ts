import { TsswarmError } from '../../base/errors.ts';
import { BLOCK, headerChecksum, padding } from './tar-entry.ts';
import type { TarEntry, TarEntryType } from './tar-entry.ts';

/** What {@link TarReader.push} yields: an entry, then its content in pieces, then its end. */
export type TarEvent =
  | { readonly kind: 'entry'; readonly entry: TarEntry }
  | { readonly kind: 'data'; readonly data: Uint8Array }
  | { readonly kind: 'end' };

/** Most bytes of a pax or GNU long-name header: room for many extended attributes of 64 KiB each, no room for a bomb. */
const MAX_META_BYTES = 1 << 20;
const XATTR_PREFIX = 'SCHILY.xattr.';
const EMPTY = Buffer.alloc(0);
const END: TarEvent = { kind: 'end' };

const TYPES: Readonly<Record<string, TarEntryType>> = {
  '\0': 'file',
  '0': 'file',
  '7': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'dir',
  '6': 'fifo',
};

/**
 * A tar reader for container layers: ustar, pax (binary values kept as bytes) and GNU long names and numbers. It is fed
 * pieces of any size and holds no more than one header, so that a layer streams through without being gathered.
 * Sparse files are refused: no layer writer makes them, and they are how a small archive becomes a huge file.
 */
export class TarReader {
  readonly #what: string;
  /** Bytes of a header or meta entry that are not complete yet. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #need = BLOCK;
  #state: 'header' | 'meta' | 'content' | 'padding' | 'ended' = 'header';
  #metaType = '';
  #metaSize = 0;
  #left = 0;
  #padding = 0;
  #pax: Map<string, Buffer> | undefined;
  #globalPax: Map<string, Buffer> | undefined;
  #longPath: Buffer | undefined;
  #longLink: Buffer | undefined;
  #zeroBlocks = 0;

  /** @param what names the archive in messages, e.g. `layer "sha256:…"` */
  constructor(what: string) {
    this.#what = what;
  }

  /**
   * Reads on.
   * @throws CORRUPT when the bytes are no tar archive
   */
  *push(chunk: Uint8Array): Generator<TarEvent, void, void> {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === 'ended') return;
      if (this.#state === 'content') {
        const take = Math.min(this.#left, bytes.length - at);
        yield { kind: 'data', data: bytes.subarray(at, at + take) };
        at += take;
        this.#left -= take;
        if (this.#left === 0) yield* this.#endContent();
        continue;
      }
      if (this.#state === 'padding') {
        const take = Math.min(this.#padding, bytes.length - at);
        at += take;
        this.#padding -= take;
        if (this.#padding === 0) this.#expectHeader();
        continue;
      }
      const take = Math.min(this.#need - this.#heldBytes, bytes.length - at);
      const piece = bytes.subarray(at, at + take);
      at += take;
      if (this.#heldBytes + take < this.#need) {
        // A copy: the caller may use its buffer again.
        this.#held.push(Buffer.from(piece));
        this.#heldBytes += take;
        return;
      }
      const whole = this.#held.length === 0 ? piece : Buffer.concat([...this.#held, piece]);
      this.#held = [];
      this.#heldBytes = 0;
      if (this.#state === 'meta') this.#readMeta(whole);
      else yield* this.#readHeader(whole);
    }
  }

  /**
   * To be called after the last piece.
   * @throws CORRUPT when the archive ends inside an entry
   */
  finish(): void {
    // Archives without the two closing blocks of zeros exist (`tar --append` leftovers) and are complete nevertheless.
    if (this.#state === 'ended' || (this.#state === 'header' && this.#heldBytes === 0)) return;
    throw this.#corrupt('it ends in the middle of an entry');
  }

  *#readHeader(header: Buffer): Generator<TarEvent, void, void> {
    if (header[0] === 0 && header.every((byte) => byte === 0)) {
      if (++this.#zeroBlocks === 2) this.#state = 'ended';
      return;
    }
    this.#zeroBlocks = 0;
    this.#verifyChecksum(header);
    const flag = String.fromCharCode(header[156] ?? 0);
    if ('xgLK'.includes(flag) && flag !== '') return this.#expectMeta(flag, this.#number(header, 124, 12, 'size'));
    const type = TYPES[flag];
    if (type === undefined) throw this.#corrupt(`entry type "${printable(flag)}" is not allowed in it`);
    const entry = this.#entry(header, type);
    this.#pax = this.#longPath = this.#longLink = undefined;
    yield { kind: 'entry', entry };
    this.#left = entry.size;
    this.#padding = padding(entry.size);
    if (this.#left > 0) this.#state = 'content';
    else yield* this.#endContent();
  }

  *#endContent(): Generator<TarEvent, void, void> {
    yield END;
    if (this.#padding > 0) this.#state = 'padding';
    else this.#expectHeader();
  }

  #expectHeader(): void {
    this.#state = 'header';
    this.#need = BLOCK;
  }

  #expectMeta(flag: string, size: number): void {
    if (size > MAX_META_BYTES) throw this.#corrupt(`an extended header of ${size} bytes, at most ${MAX_META_BYTES}`);
    if (size === 0) return;
    this.#state = 'meta';
    this.#metaType = flag;
    this.#metaSize = size;
    this.#need = size + padding(size);
  }

  #readMeta(block: Buffer): void {
    // A copy, for the values live until the entry that they describe.
    const body = Buffer.from(block.subarray(0, this.#metaSize));
    if (this.#metaType === 'x') this.#pax = this.#parsePax(body);
    else if (this.#metaType === 'g') this.#globalPax = new Map([...(this.#globalPax ?? []), ...this.#parsePax(body)]);
    else if (this.#metaType === 'L') this.#longPath = untilNul(body, 0, body.length);
    else this.#longLink = untilNul(body, 0, body.length);
    this.#expectHeader();
  }

  #entry(header: Buffer, type: TarEntryType): TarEntry {
    const pax = (key: string): Buffer | undefined => this.#pax?.get(key) ?? this.#globalPax?.get(key);
    const text = (key: string): string | undefined => pax(key)?.toString('latin1');
    for (const key of this.#pax?.keys() ?? [])
      if (key.startsWith('GNU.sparse.')) throw this.#corrupt('it holds a sparse file, which layers may not');
    const integer = (key: string, fallback: () => number): number => {
      const value = text(key);
      if (value === undefined || value === '') return fallback();
      const number = Number(value);
      if (!Number.isSafeInteger(number) || number < 0) throw this.#corrupt(`pax value ${key}="${printable(value)}"`);
      return number;
    };
    const size = integer('size', () => this.#number(header, 124, 12, 'size'));
    const device = type === 'char' || type === 'block';
    return {
      type,
      path: pax('path') ?? this.#longPath ?? ustarPath(header),
      linkPath: pax('linkpath') ?? this.#longLink ?? untilNul(header, 157, 100),
      mode: this.#number(header, 100, 8, 'mode') & 0o7777,
      uid: integer('uid', () => this.#number(header, 108, 8, 'uid')),
      gid: integer('gid', () => this.#number(header, 116, 8, 'gid')),
      size: type === 'file' ? size : 0,
      mtimeNs: paxTime(text('mtime')) ?? BigInt(this.#number(header, 136, 12, 'mtime')) * 1_000_000_000n,
      major: device ? this.#number(header, 329, 8, 'major') : 0,
      minor: device ? this.#number(header, 337, 8, 'minor') : 0,
      xattrs: this.#xattrs(),
    };
  }

  #xattrs(): ReadonlyMap<string, Buffer> | undefined {
    let found: Map<string, Buffer> | undefined;
    for (const source of [this.#globalPax, this.#pax])
      for (const [key, value] of source ?? [])
        if (key.startsWith(XATTR_PREFIX)) (found ??= new Map()).set(key.slice(XATTR_PREFIX.length), value);
    return found;
  }

  /** pax(5): each record is "LENGTH KEY=VALUE\n" where LENGTH counts the whole record; VALUE is any bytes. */
  #parsePax(body: Buffer): Map<string, Buffer> {
    const values = new Map<string, Buffer>();
    for (let at = 0; at < body.length;) {
      const space = body.indexOf(0x20, at);
      const length = space < 0 ? NaN : Number(body.toString('latin1', at, space));
      const end = at + length;
      const equals = space < 0 ? -1 : body.indexOf(0x3d, space);
      if (!Number.isInteger(length) || end > body.length || equals < 0 || equals >= end || body[end - 1] !== 0x0a)
        throw this.#corrupt('a pax header that cannot be read');
      values.set(body.toString('utf8', space + 1, equals), body.subarray(equals + 1, end - 1));
      at = end;
    }
    return values;
  }

  #verifyChecksum(header: Buffer): void {
    const stored = this.#number(header, 148, 8, 'checksum');
    if (stored === headerChecksum(header)) return;
    // Some old writers summed signed bytes.
    let signed = 8 * 0x20;
    for (let i = 0; i < BLOCK; i++) if (i < 148 || i > 155) signed += header.readInt8(i);
    if (stored !== signed) throw this.#corrupt('a header whose checksum is wrong: no tar archive, or a damaged one');
  }

  /** An octal number, or a binary one (GNU and star: top bit set) that does not fit into octal digits. */
  #number(header: Buffer, offset: number, length: number, field: string): number {
    const first = header[offset] ?? 0;
    if (first & 0x80) {
      if (first === 0xff) return 0; // negative: times before 1970
      let value = first & 0x7f;
      for (let i = 1; i < length; i++) value = value * 256 + (header[offset + i] ?? 0);
      if (!Number.isSafeInteger(value)) throw this.#corrupt(`header field ${field} is out of range`);
      return value;
    }
    let value = 0;
    for (let i = offset; i < offset + length; i++) {
      const digit = (header[i] ?? 0) - 0x30;
      if (digit >= 0 && digit < 8) value = value * 8 + digit;
      else if (digit === -0x30 || (digit === -0x10 && value > 0)) break;
      else if (digit !== -0x10) throw this.#corrupt(`header field ${field} is no octal number`);
    }
    return value;
  }

  #corrupt(what: string): TsswarmError {
    return new TsswarmError('CORRUPT', `reading ${this.#what}: ${what}`);
  }
}

/** pax times are decimal seconds with any number of digits after the point. */
function paxTime(text: string | undefined): bigint | undefined {
  const match = text === undefined ? null : /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (!match) return undefined;
  const nanos = BigInt(match[2] ?? '0') * 1_000_000_000n + BigInt((match[3] ?? '').slice(0, 9).padEnd(9, '0'));
  return match[1] ? -nanos : nanos;
}

function ustarPath(header: Buffer): Buffer {
  const name = untilNul(header, 0, 100);
  // The prefix field is POSIX's ("ustar\0"); GNU's "ustar " keeps other things there.
  if (header.toString('latin1', 257, 263) !== 'ustar\0' || header[345] === 0) return name;
  return Buffer.concat([untilNul(header, 345, 155), Buffer.from('/'), name]);
}

function untilNul(bytes: Buffer, offset: number, length: number): Buffer {
  const end = bytes.indexOf(0, offset);
  const field = bytes.subarray(offset, end < 0 || end > offset + length ? offset + length : end);
  return field.length === 0 ? EMPTY : Buffer.from(field);
}

function printable(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}
