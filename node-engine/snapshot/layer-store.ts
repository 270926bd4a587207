import { createHash, randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { KeyedQueue } from '../../base/async.ts';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { DEFAULT_LIMITS, NeedsLowerLayers } from './apply.ts';
import type { ApplyLimits } from './apply.ts';
import { diskError } from './disk-errors.ts';
import { makePrivateDir } from './durable.ts';
import { isSmallTree, removeTree } from './remove-tree.ts';
import { SnapshotWorkers } from './worker-pool.ts';
import type { ApplyResult } from './worker-protocol.ts';

const EMPTY = 'empty';
/** Entries of a tree that is removed at once, where it is asked for. */
const SMALL_TREE = 200;

/** A layer's archive as it is kept on this node: OCI descriptor. */
export interface PackedLayer {
  readonly mediaType: string;
  /** Of the archive, as packed. */
  readonly digest: string;
  readonly size: number;
}

/** An unpacked layer. */
export interface LayerInfo {
  /** Name of its directory, see {@link LayerStore}. */
  readonly key: string;
  /** Digest of the plain tar: "sha256:…". */
  readonly diffId: string;
  /** Sum of the files' sizes. */
  readonly sizeBytes: number;
  /** It says what owner and mode the root directory has. */
  readonly hasRoot: boolean;
  /** What it was unpacked from. */
  readonly packed: PackedLayer;
}

export interface ApplyRequest {
  /** The layer's archive: tar, plain or packed by gzip or zstd. */
  readonly archive: string;
  readonly packed: PackedLayer;
  /** What must come out; undefined: whatever comes out. */
  readonly diffId: string | undefined;
  /** For messages: `pulling "docker.io/library/nginx:latest"`. */
  readonly action: string;
  /** The layers beneath, lowest first. Asked for only if the layer cannot do without: it may wait for them. */
  readonly parents: () => Promise<readonly LayerInfo[]>;
  /** Bytes of the archive read so far. */
  readonly onProgress?: (bytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface LayerStoreOptions {
  /** <state-dir>/engine/layers */
  readonly dir: string;
  readonly logger: Logger;
  readonly limits?: ApplyLimits;
  readonly workers?: SnapshotWorkers;
}

/**
 * Unpacked layers, each a directory that overlayfs takes as a lower directory: `<dir>/<key>/fs`.
 *
 * The key is the diff id's hex digits, not the chain id's: a layer is then unpacked once for all images that have it on
 * whatever base, and the layers of an image are unpacked side by side in any order. It holds because nearly every layer
 * says all about its files. The few that do not (a file in a directory that only a lower layer describes, a hard link to
 * a lower file) take from the layers beneath; those alone are kept by chain id.
 *
 * A directory is complete if it has its final name: it is made under a temporary one, which is removed at the next start.
 */
export class LayerStore {
  readonly dir: string;
  readonly #logger: Logger;
  readonly #limits: ApplyLimits;
  readonly #workers: SnapshotWorkers;
  readonly #layers = new Map<string, LayerInfo>();
  readonly #queue = new KeyedQueue();

  private constructor(options: LayerStoreOptions) {
    this.dir = options.dir;
    this.#logger = options.logger;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
    this.#workers = options.workers ?? new SnapshotWorkers();
  }

  /** Reads what is there and removes what a crash left half-made. */
  static async open(options: LayerStoreOptions): Promise<LayerStore> {
    const store = new LayerStore(options);
    await makePrivateDir(store.dir);
    await mkdir(store.emptyPath, { recursive: true, mode: 0o755 });
    for (const name of await readdir(store.dir)) {
      if (name === EMPTY) continue;
      const info = /^[0-9a-f]{64}$/.test(name) ? await readInfo(store.dir, name) : undefined;
      if (info !== undefined) store.#layers.set(name, info);
      else await store.#discard(join(store.dir, name));
    }
    return store;
  }

  /** A directory without content: the lower directory of images without layers, for overlayfs wants one. */
  get emptyPath(): string {
    return join(this.dir, EMPTY);
  }

  get(key: string): LayerInfo | undefined {
    return this.#layers.get(key);
  }

  list(): readonly LayerInfo[] {
    return [...this.#layers.values()];
  }

  /** The lower directory of a layer. */
  path(key: string): string {
    return join(this.dir, key, 'fs');
  }

  /** The unpacked layer of this diff id upon these parents (lowest first), if it is here. */
  find(diffId: string, parents: readonly LayerInfo[]): LayerInfo | undefined {
    return this.#layers.get(hexOf(diffId)) ?? this.#layers.get(chainKey([...parents.map((p) => p.diffId), diffId]));
  }

  /**
   * Unpacks a layer, or finds that it is here. Of several calls for the same layer one works.
   * @throws DIGEST_MISMATCH, CORRUPT, DISK_FULL, TOO_LARGE
   */
  async apply(request: ApplyRequest): Promise<LayerInfo> {
    return await this.#queue.run(request.diffId ?? randomUUID(), async () => {
      const known = request.diffId === undefined ? undefined : this.#layers.get(hexOf(request.diffId));
      return known ?? (await this.#unpack(request));
    });
  }

  /**
   * Removes layers. They are gone at once, before this returns its promise, so that whoever looks afterwards unpacks anew;
   * the content goes after that, or at the next start.
   */
  remove(layers: Iterable<LayerInfo>): Promise<void> {
    const trash: string[] = [];
    for (const { key } of layers) {
      if (!this.#layers.delete(key)) continue;
      const path = join(this.dir, `removed-${randomUUID()}`);
      renameSync(join(this.dir, key), path);
      trash.push(path);
    }
    return Promise.all(trash.map((path) => this.#discard(path))).then(() => undefined);
  }

  /** Removes a tree, a large one on a worker thread, never what is mounted in it. */
  async removeTree(path: string): Promise<void> {
    // A thread holds 20 MB, and is slower to start than a container's few files are to remove.
    if (isSmallTree(path, SMALL_TREE)) removeTree(path);
    else await this.#workers.run({ kind: 'remove', path });
  }

  async close(): Promise<void> {
    await this.#workers.close();
  }

  async #unpack(request: ApplyRequest): Promise<LayerInfo> {
    const temporary = join(this.dir, `new-${randomUUID()}`);
    try {
      await mkdir(temporary, { mode: 0o710 });
      const { result, parents } = await this.#unpackInto(temporary, request);
      if (request.diffId !== undefined && result.diffId !== request.diffId)
        throw new TsswarmError(
          'DIGEST_MISMATCH',
          `${request.action}: layer "${basename(request.archive)}" unpacks to ${result.diffId}, the image says ${request.diffId}`,
        );
      const key = result.usedLower ? chainKey([...parents.map((p) => p.diffId), result.diffId]) : hexOf(result.diffId);
      const { diffId, sizeBytes, hasRoot } = result;
      const info: LayerInfo = { key, diffId, sizeBytes, hasRoot, packed: request.packed };
      const present = this.#layers.get(key);
      if (present !== undefined) {
        await this.#discard(temporary);
        return present;
      }
      await writeFile(join(temporary, 'layer.json'), JSON.stringify({ version: 1, ...info }));
      await rename(temporary, join(this.dir, key));
      this.#layers.set(key, info);
      return info;
    } catch (error) {
      await this.#discard(temporary);
      throw diskError(error, { action: request.action, directory: this.dir, neededBytes: 0 });
    }
  }

  async #unpackInto(
    directory: string,
    request: ApplyRequest,
  ): Promise<{ result: ApplyResult; parents: readonly LayerInfo[] }> {
    const unpack = async (lower: readonly string[] | undefined): Promise<ApplyResult> => {
      const root = join(directory, 'fs');
      await mkdir(root, { mode: 0o755 });
      const what = `layer "${request.diffId ?? basename(request.archive)}"`;
      const { archive, onProgress, signal } = request;
      const limits = this.#limits;
      return await this.#workers.run<'apply'>(
        { kind: 'apply', archive, root, what, lower, limits },
        onProgress,
        signal,
      );
    };
    try {
      return { result: await unpack(undefined), parents: [] };
    } catch (error) {
      if (!(error instanceof NeedsLowerLayers)) throw error;
    }
    const parents = await request.parents();
    await this.removeTree(join(directory, 'fs'));
    const lower = parents.map((parent) => this.path(parent.key)).reverse();
    return { result: await unpack(lower), parents };
  }

  async #discard(path: string): Promise<void> {
    try {
      await this.removeTree(path);
    } catch (error) {
      // The next start tries again.
      this.#logger.warn('a layer directory could not be removed', { path, error: String(error) });
    }
  }
}

/** Identity of a stack of layers, lowest first (OCI image-spec, config.md, "Layer ChainID"), as hex digits. */
export function chainKey(diffIds: readonly string[]): string {
  const [first = '', ...rest] = diffIds;
  return hexOf(
    rest.reduce((chain, diffId) => `sha256:${createHash('sha256').update(`${chain} ${diffId}`).digest('hex')}`, first),
  );
}

function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1);
}

async function readInfo(dir: string, key: string): Promise<LayerInfo | undefined> {
  let text: string;
  try {
    text = await readFile(join(dir, key, 'layer.json'), 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  try {
    const value = JSON.parse(text) as Record<string, unknown>;
    const { version, diffId, sizeBytes, hasRoot } = value;
    const { mediaType, digest, size } = (value['packed'] ?? {}) as Record<string, unknown>;
    if (version !== 1 || value['key'] !== key || typeof diffId !== 'string' || typeof sizeBytes !== 'number')
      return undefined;
    if (typeof mediaType !== 'string' || typeof digest !== 'string' || typeof size !== 'number') return undefined;
    return { key, diffId, sizeBytes, hasRoot: hasRoot === true, packed: { mediaType, digest, size } };
  } catch {
    return undefined;
  }
}
