import { createHash, randomUUID } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { createReadStream, renameSync } from 'node:fs';
import { open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import { makePrivateDir, syncDir } from '../snapshot/durable.ts';

/** "sha256:…" of these bytes. */
export function digestOf(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/**
 * Blobs by digest: `<dir>/sha256/<hex>`. A file with that name has been written, checked and synced before it got it.
 * What exists is known in memory.
 */
export class BlobStore {
  readonly #dir: string;
  readonly #temporary: string;
  readonly #sizes = new Map<string, number>();

  private constructor(dir: string, temporary: string) {
    this.#dir = join(dir, 'sha256');
    this.#temporary = temporary;
  }

  /**
   * @param dir of the blobs
   * @param temporary for unfinished ones, on the same file system; emptied now
   */
  static async open(dir: string, temporary: string): Promise<BlobStore> {
    const store = new BlobStore(dir, temporary);
    await makePrivateDir(store.#dir);
    await rm(temporary, { recursive: true, force: true });
    await makePrivateDir(temporary);
    for (const name of await readdir(store.#dir))
      if (/^[0-9a-f]{64}$/.test(name)) store.#sizes.set(`sha256:${name}`, (await stat(join(store.#dir, name))).size);
    return store;
  }

  has(digest: string): boolean {
    return this.#sizes.has(digest);
  }

  /** Bytes; undefined when the blob is not here. */
  size(digest: string): number | undefined {
    return this.#sizes.get(digest);
  }

  digests(): readonly string[] {
    return [...this.#sizes.keys()];
  }

  path(digest: string): string {
    return join(this.#dir, digest.slice('sha256:'.length));
  }

  /** Directory that blobs are written to, for messages. */
  get dir(): string {
    return this.#dir;
  }

  /** A path for a file that becomes a blob, or is removed at the next start. */
  temporaryPath(): string {
    return join(this.#temporary, randomUUID());
  }

  /** The whole of a small blob, its digest checked again. @throws NOT_FOUND, CORRUPT, TOO_LARGE */
  async read(digest: string, maxBytes: number): Promise<Buffer> {
    const size = this.#sizes.get(digest);
    if (size === undefined) throw new TsswarmError('NOT_FOUND', `reading the blob "${digest}": it is not here`);
    if (size > maxBytes)
      throw new TsswarmError(
        'TOO_LARGE',
        `reading the blob "${digest}": it has ${size} bytes, at most ${maxBytes} expected`,
      );
    const bytes = await readFile(this.path(digest));
    if (digestOf(bytes) !== digest)
      throw new TsswarmError('CORRUPT', `reading the blob "${digest}": its content has changed on the disk`);
    return bytes;
  }

  /** The bytes of a blob, as a stream. @throws NOT_FOUND */
  stream(digest: string): AsyncIterable<Uint8Array> {
    if (!this.has(digest)) throw new TsswarmError('NOT_FOUND', `reading the blob "${digest}": it is not here`);
    return createReadStream(this.path(digest), { highWaterMark: 256 * 1024 });
  }

  /** Keeps bytes; returns their digest. */
  async put(bytes: Uint8Array): Promise<string> {
    const digest = digestOf(bytes);
    if (this.has(digest)) return digest;
    const writer = await this.create();
    try {
      await writer.write(bytes);
      await writer.commit(digest);
    } finally {
      await writer.abandon();
    }
    return digest;
  }

  /** Begins a blob. The caller ends it with `commit` and, whatever happened, `abandon`. */
  async create(): Promise<BlobWriter> {
    const path = this.temporaryPath();
    const handle = await open(path, 'wx', 0o600);
    return new BlobWriter(path, handle, async (digest, size) => {
      await rename(path, this.path(digest));
      await syncDir(this.#dir);
      this.#sizes.set(digest, size);
    });
  }

  /** Makes a file of the temporary directory, whose digest has been computed while it was written, a blob. */
  async adopt(path: string, digest: string, size: number): Promise<void> {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(path, this.path(digest));
    await syncDir(this.#dir);
    this.#sizes.set(digest, size);
  }

  /** Removes blobs: they are gone at once, before this returns its promise; their space comes back after that. */
  remove(digests: Iterable<string>): Promise<void> {
    const trash: string[] = [];
    for (const digest of digests) {
      if (!this.#sizes.delete(digest)) continue;
      const path = this.temporaryPath();
      renameSync(this.path(digest), path);
      trash.push(path);
    }
    return Promise.all(trash.map((path) => rm(path, { force: true }))).then(() => undefined);
  }
}

/** A blob that is being written; its digest grows along. */
export class BlobWriter {
  readonly path: string;
  #handle: FileHandle | undefined;
  #hash: Hash = createHash('sha256');
  #size = 0;
  readonly #publish: (digest: string, size: number) => Promise<void>;

  constructor(path: string, handle: FileHandle, publish: (digest: string, size: number) => Promise<void>) {
    this.path = path;
    this.#handle = handle;
    this.#publish = publish;
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#size;
  }

  async write(bytes: Uint8Array): Promise<void> {
    const handle = this.#open();
    this.#hash.update(bytes);
    for (let at = 0; at < bytes.length;) at += (await handle.write(bytes, at)).bytesWritten;
    this.#size += bytes.length;
  }

  /** Forgets what was written, to begin again. */
  async restart(): Promise<void> {
    await this.#open().close();
    this.#handle = await open(this.path, 'w', 0o600);
    this.#hash = createHash('sha256');
    this.#size = 0;
  }

  /** Digest of what has been written. */
  digest(): string {
    return `sha256:${this.#hash.copy().digest('hex')}`;
  }

  /** Syncs the file and gives it its name. @throws DIGEST_MISMATCH, when `expected` is given and is not the digest */
  async commit(expected?: string): Promise<string> {
    const digest = this.digest();
    if (expected !== undefined && digest !== expected)
      throw new TsswarmError('DIGEST_MISMATCH', `writing the blob "${expected}": the bytes have the digest ${digest}`);
    const handle = this.#open();
    await handle.sync();
    await handle.close();
    this.#handle = undefined;
    await this.#publish(digest, this.#size);
    return digest;
  }

  /** Removes the file, unless it was committed. */
  async abandon(): Promise<void> {
    const handle = this.#handle;
    if (handle === undefined) return;
    this.#handle = undefined;
    await handle.close().catch((error: unknown) => {
      if (errnoOf(error) === undefined) throw error;
    });
    await rm(this.path, { force: true });
  }

  #open(): FileHandle {
    if (this.#handle === undefined) throw new Error('the blob is closed');
    return this.#handle;
  }
}
