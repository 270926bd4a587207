import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { TsswarmError } from '../../base/errors.ts';
import { TarReader } from '../snapshot/tar-reader.ts';
import type { TarEntry } from '../snapshot/tar-entry.ts';
import type { BlobStore } from './blobs.ts';

/** A file of an image archive: small ones in memory, others in a temporary file. */
export interface ArchiveFile {
  readonly size: number;
  /** "sha256:…" of its content. */
  readonly digest: string;
  readonly bytes: Buffer | undefined;
  /** Empty when it is in memory, or has become a blob. */
  path: string;
}

/** Files up to this size stay in memory: manifests, configs, VERSION. */
const SMALL_BYTES = 64 * 1024;
/** All of them together; beyond, small ones go to the disk as well. */
const MEMORY_BYTES = 64 * 2 ** 20;
const MAX_ENTRIES = 100_000;
const MAX_LINKS = 8;
const REPORT_EVERY = 2 ** 20;

/**
 * The files of an image archive, taken from a stream in whatever order they come: `docker save` writes the manifest last.
 * Names in the archive never become names on the disk.
 */
export class ArchiveFiles {
  readonly #what: string;
  readonly #blobs: BlobStore;
  readonly #files = new Map<string, ArchiveFile>();
  /** Old archives have one layer under many names. */
  readonly #links = new Map<string, string>();
  #memoryBytes = 0;

  /** @param what names the archive in messages */
  constructor(what: string, blobs: BlobStore) {
    this.#what = what;
    this.#blobs = blobs;
  }

  /** Reads a plain tar to its end. @throws CORRUPT, system errors of writing */
  async read(tar: AsyncIterable<Uint8Array>, onProgress: (bytes: number) => void): Promise<void> {
    const reader = new TarReader(this.#what);
    let writer: FileWriter | undefined;
    let name = '';
    let bytes = 0;
    let reported = 0;
    try {
      for await (const chunk of tar) {
        for (const event of reader.push(chunk)) {
          if (event.kind === 'entry') {
            name = this.#admit(event.entry);
            writer = event.entry.type === 'file' ? this.#begin(event.entry.size) : undefined;
          } else if (event.kind === 'data') await writer?.write(event.data);
          else if (writer !== undefined) {
            await this.#put(name, await writer.end());
            writer = undefined;
          }
        }
        bytes += chunk.length;
        if (bytes - reported >= REPORT_EVERY) onProgress((reported = bytes));
      }
      reader.finish();
    } finally {
      await writer?.abandon();
    }
  }

  has(name: string): boolean {
    return this.#files.has(this.#resolve(name));
  }

  /** @throws CORRUPT, when the archive has no such file */
  get(name: string): ArchiveFile {
    const file = this.#files.get(this.#resolve(name));
    if (file === undefined) throw this.#corrupt(`it has no file "${name}", which it refers to`);
    return file;
  }

  /** The content of a file that must be small. */
  async content(file: ArchiveFile, maxBytes: number): Promise<Buffer> {
    if (file.size > maxBytes)
      throw this.#corrupt(`a document of ${file.size} bytes, at most ${maxBytes} were expected`);
    if (file.bytes !== undefined) return file.bytes;
    const pieces: Buffer[] = [];
    for await (const piece of this.stream(file)) pieces.push(Buffer.from(piece));
    return Buffer.concat(pieces);
  }

  stream(file: ArchiveFile): AsyncIterable<Uint8Array> {
    if (file.bytes !== undefined) return one(file.bytes);
    return createReadStream(file.path === '' ? this.#blobs.path(file.digest) : file.path, {
      highWaterMark: 256 * 1024,
    });
  }

  /** Makes a file a blob of the store. */
  async keep(file: ArchiveFile): Promise<string> {
    if (file.bytes !== undefined) return await this.#blobs.put(file.bytes);
    if (file.path === '' || this.#blobs.has(file.digest)) return file.digest;
    await this.#blobs.adopt(file.path, file.digest, file.size);
    file.path = '';
    return file.digest;
  }

  /** Removes temporary files. */
  async close(): Promise<void> {
    for (const file of this.#files.values()) if (file.path !== '') await rm(file.path, { force: true });
  }

  /** The name of an entry, normalised. @throws CORRUPT for what no image archive has */
  #admit(entry: TarEntry): string {
    const raw = entry.path.toString('utf8');
    const name = posix.normalize(raw).replace(/\/$/, '');
    if (raw.startsWith('/') || name === '..' || name.startsWith('../') || raw.includes('\0'))
      throw this.#corrupt(`the entry "${raw}" leads out of the archive`);
    if (this.#files.size + this.#links.size >= MAX_ENTRIES)
      throw this.#corrupt(`it has more than ${MAX_ENTRIES} entries`);
    if (entry.type === 'symlink' || entry.type === 'hardlink') {
      const target = entry.linkPath.toString('utf8');
      const base = entry.type === 'symlink' ? posix.dirname(name) : '.';
      const resolved = posix.normalize(posix.join(base, target));
      if (target.startsWith('/') || resolved === '..' || resolved.startsWith('../'))
        throw this.#corrupt(`the link "${raw}" leads out of the archive, to "${target}"`);
      this.#links.set(name, resolved);
    } else if (entry.type !== 'file' && entry.type !== 'dir') {
      throw this.#corrupt(`the entry "${raw}" is a ${entry.type}, an image archive has only files`);
    }
    return name;
  }

  #begin(size: number): FileWriter {
    const small = size <= SMALL_BYTES && this.#memoryBytes + size <= MEMORY_BYTES;
    if (small) this.#memoryBytes += size;
    return new FileWriter(size, small ? '' : this.#blobs.temporaryPath());
  }

  async #put(name: string, file: ArchiveFile): Promise<void> {
    const before = this.#files.get(name);
    if (before !== undefined && before.path !== '') await rm(before.path, { force: true });
    this.#files.set(name, file);
  }

  #resolve(name: string): string {
    let at = posix.normalize(name);
    for (let links = 0; links < MAX_LINKS; links++) {
      const target = this.#links.get(at);
      if (target === undefined || this.#files.has(at)) return at;
      at = target;
    }
    return at;
  }

  #corrupt(what: string): TsswarmError {
    return new TsswarmError('CORRUPT', `reading ${this.#what}: ${what}`);
  }
}

class FileWriter {
  readonly #hash: Hash = createHash('sha256');
  readonly #size: number;
  readonly #pieces: Buffer[] = [];
  readonly #path: string;
  #handle: FileHandle | undefined;

  /** @param path empty: in memory */
  constructor(size: number, path: string) {
    this.#size = size;
    this.#path = path;
  }

  async write(data: Uint8Array): Promise<void> {
    this.#hash.update(data);
    if (this.#path === '') return void this.#pieces.push(Buffer.from(data));
    this.#handle ??= await open(this.#path, 'wx', 0o600);
    for (let at = 0; at < data.length;) at += (await this.#handle.write(data, at)).bytesWritten;
  }

  async end(): Promise<ArchiveFile> {
    await this.#handle?.close();
    this.#handle = undefined;
    const digest = `sha256:${this.#hash.digest('hex')}`;
    const bytes = this.#path === '' ? Buffer.concat(this.#pieces) : undefined;
    return { size: this.#size, digest, bytes, path: this.#path };
  }

  /** Removes the file when the archive ended inside it. */
  async abandon(): Promise<void> {
    await this.#handle?.close();
    if (this.#handle !== undefined) await rm(this.#path, { force: true });
  }
}

async function* one(bytes: Buffer): AsyncGenerator<Uint8Array, void> {
  yield bytes;
  await Promise.resolve();
}
