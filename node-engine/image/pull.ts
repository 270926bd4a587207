import { KeyedQueue, Semaphore, backoffMs, sleep } from '../../base/async.ts';
import { systemClock } from '../../base/clock.ts';
import { TsswarmError, errnoOf, isTsswarmError, messageOf } from '../../base/errors.ts';
import { diskError } from '../snapshot/disk-errors.ts';
import type { LayerInfo } from '../snapshot/layer-store.ts';
import type { ImageInfo, ImageProgress } from '../types.ts';
import { digestOf } from './blobs.ts';
import { parseConfig } from './config.ts';
import type { ImageCore } from './core.ts';
import type { Lease } from './leases.ts';
import { MAX_CONFIG_BYTES, parseManifest } from './manifest.ts';
import type { Descriptor, ImageManifest } from './manifest.ts';
import { choosePlatform, formatPlatform, hostPlatform } from './platform.ts';
import type { ImageReference } from '../../base/image-reference.ts';
import { formatReference, parseReference } from '../../base/image-reference.ts';
import { IDLE_MS, RegistryClient } from './registry-client.ts';

type Report = (progress: ImageProgress) => void;

/** Layers of one node that are downloaded at the same moment, as Docker's default. */
const DOWNLOADS = 3;
const ATTEMPTS = 6;
const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 5000;
const REPORT_EVERY_BYTES = 256 * 1024;

/** Pulls images; downloads that are under way are shared. */
export class Puller {
  readonly #core: ImageCore;
  readonly #downloads = new Semaphore(DOWNLOADS);
  readonly #blobs = new KeyedQueue();
  readonly #images = new KeyedQueue();

  constructor(core: ImageCore) {
    this.#core = core;
  }

  /**
   * Pulls an image; bytes of layers and blobs that are here are not fetched again.
   * @throws IMAGE_NOT_FOUND, REGISTRY_UNAVAILABLE, DIGEST_MISMATCH, DISK_FULL, INVALID_INPUT, NOT_SUPPORTED
   */
  async pull(name: string, report: Report, signal?: AbortSignal): Promise<ImageInfo> {
    const reference = parseReference(name);
    const full = formatReference(reference);
    const client = new RegistryClient(reference.domain, reference.path);
    return this.#images.run(full, async () => {
      const lease = this.#core.lease();
      const action = `pulling "${full}"`;
      let needed = 0;
      try {
        const top = await this.#manifest(client, reference, reference.digest || reference.tag, signal);
        const { manifest, digests } = await this.#image(client, reference, top, lease, signal);
        needed = manifest.layers.reduce((sum, { size }) => sum + size, 0);
        const config = await this.#download(client, manifest.config, lease, () => undefined, signal);
        const { diffIds } = parseConfig(
          await this.#core.blobs.read(config, MAX_CONFIG_BYTES),
          `the config of "${full}"`,
        );
        if (diffIds.length !== manifest.layers.length) {
          throw new TsswarmError(
            'CORRUPT',
            `${action}: the config tells of ${diffIds.length} layers, the manifest of ${manifest.layers.length}`,
          );
        }
        for (const diffId of diffIds) lease.hold(diffId);
        const layers = await this.#layers(client, manifest, diffIds, lease, report, action, signal);
        const arrival = {
          id: config,
          names: [full],
          repoDigests: [`${reference.domain}/${reference.path}@${top.digest}`],
          digest: top.digest,
          manifests: digests,
          layers,
        };
        const info = await this.#core.register(arrival, action);
        report({ id: '', status: 'done', current: 0, total: 0, text: `Pulled ${full}` });
        return info;
      } catch (error) {
        throw diskError(error, { action, directory: this.#core.blobs.dir, neededBytes: needed });
      } finally {
        lease.release();
        await this.#core.collect();
      }
    });
  }

  async #manifest(client: RegistryClient, reference: ImageReference, wanted: string, signal: AbortSignal | undefined) {
    const { bytes, mediaType } = await client.manifest(wanted, signal);
    const digest = digestOf(bytes);
    const expected = wanted.startsWith('sha256:') ? wanted : digest;
    if (digest !== expected) {
      throw new TsswarmError(
        'DIGEST_MISMATCH',
        `pulling "${formatReference(reference)}": the manifest "${expected}" has the digest ${digest}`,
      );
    }
    return { bytes, mediaType, digest };
  }

  /** The manifest for this machine, behind an index where there is one; what was read is kept. */
  async #image(
    client: RegistryClient,
    reference: ImageReference,
    top: { readonly bytes: Buffer; readonly mediaType: string; readonly digest: string },
    lease: Lease,
    signal: AbortSignal | undefined,
  ): Promise<{ manifest: ImageManifest; digests: string[] }> {
    const what = `the manifest of "${formatReference(reference)}"`;
    const digests: string[] = [];
    for (let current = top; ;) {
      lease.hold(current.digest);
      digests.push(await this.#core.blobs.put(current.bytes));
      const parsed = parseManifest(current.bytes, what, current.mediaType);
      if (parsed.kind === 'manifest') return { manifest: parsed, digests };
      const wanted = hostPlatform();
      const chosen = choosePlatform(parsed.manifests, wanted);
      if (chosen === undefined) {
        const offered = parsed.manifests.flatMap(({ platform }) =>
          platform === undefined ? [] : [formatPlatform(platform)],
        );
        throw new TsswarmError(
          'IMAGE_NOT_FOUND',
          `pulling "${formatReference(reference)}": there is none for ${formatPlatform(wanted)}, only for ${offered.join(', ')}`,
        );
      }
      if (digests.length > 3) throw new TsswarmError('CORRUPT', `reading ${what}: indexes lead to indexes`);
      current = await this.#manifest(client, reference, chosen.digest, signal);
    }
  }

  /** All layers, downloaded side by side and unpacked as they come. */
  async #layers(
    client: RegistryClient,
    manifest: ImageManifest,
    diffIds: readonly string[],
    lease: Lease,
    report: Report,
    action: string,
    signal: AbortSignal | undefined,
  ): Promise<readonly LayerInfo[]> {
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    const known = new Map<number, LayerInfo>();
    for (const [at, diffId] of diffIds.entries()) {
      if (known.size !== at) break;
      const present = this.#core.layers.find(diffId, [...known.values()]);
      if (present !== undefined && this.#core.blobs.has(present.packed.digest)) known.set(at, present);
    }
    const results: Promise<LayerInfo>[] = [];
    for (const [at, layer] of manifest.layers.entries()) {
      const id = layer.digest.slice(7, 19);
      const present = known.get(at);
      if (present !== undefined) {
        report({ id, status: 'exists', current: layer.size, total: layer.size, text: '' });
        results.push(Promise.resolve(present));
        continue;
      }
      report({ id, status: 'waiting', current: 0, total: layer.size, text: '' });
      const parents = (): Promise<LayerInfo[]> => Promise.all(results.slice(0, at));
      results.push(this.#layer(client, layer, diffIds[at] ?? '', parents, lease, report, action, either));
    }
    try {
      return await Promise.all(results);
    } catch (error) {
      // The others would go on for an image that will not be.
      stop.abort(error);
      await Promise.allSettled(results);
      throw error;
    }
  }

  async #layer(
    client: RegistryClient,
    layer: Descriptor,
    diffId: string,
    parents: () => Promise<LayerInfo[]>,
    lease: Lease,
    report: Report,
    action: string,
    signal: AbortSignal,
  ): Promise<LayerInfo> {
    const id = layer.digest.slice(7, 19);
    const say = (status: ImageProgress['status']) => (current: number) =>
      report({ id, status, current, total: layer.size, text: '' });
    const digest = await this.#downloads.use(() => this.#download(client, layer, lease, say('downloading'), signal));
    signal.throwIfAborted();
    const { mediaType, size } = layer;
    const packed = { mediaType, digest, size };
    const archive = this.#core.blobs.path(digest);
    const result = await this.#core.layers.apply({
      archive,
      packed,
      diffId,
      action,
      parents,
      onProgress: say('extracting'),
    });
    say('done')(layer.size);
    return result;
  }

  /** A blob, fetched unless it is here; goes on where a broken connection ended. @returns its digest */
  #download(
    client: RegistryClient,
    { digest, size }: Descriptor,
    lease: Lease,
    onBytes: (bytes: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<string> {
    lease.hold(digest);
    return this.#blobs.run(digest, async () => {
      if (this.#core.blobs.has(digest)) return digest;
      const writer = await this.#core.blobs.create();
      try {
        for (let attempt = 0; ; attempt++) {
          try {
            const { resumed, body } = await client.blob(digest, writer.size, signal);
            if (writer.size > 0 && !resumed) await writer.restart();
            let reported = 0;
            for await (const chunk of withIdleLimit(body)) {
              await writer.write(chunk);
              if (writer.size > size)
                throw new TsswarmError(
                  'DIGEST_MISMATCH',
                  `pulling the blob "${digest}": it is longer than the ${size} bytes that were named`,
                );
              if (writer.size - reported < REPORT_EVERY_BYTES && writer.size < size) continue;
              reported = writer.size;
              onBytes(writer.size);
            }
            if (writer.size < size) throw new Error(`the connection ended after ${writer.size} of ${size} bytes`);
            return await writer.commit(digest);
          } catch (error) {
            signal?.throwIfAborted();
            const isDisk = ['ENOSPC', 'EDQUOT', 'EIO', 'EROFS'].includes(errnoOf(error) ?? '');
            if (isTsswarmError(error) || isDisk || attempt + 1 >= ATTEMPTS) throw error;
            await sleep(systemClock, backoffMs(attempt, FIRST_RETRY_MS, LONGEST_RETRY_MS), signal);
          }
        }
      } catch (error) {
        if (isTsswarmError(error) || errnoOf(error) !== undefined) throw error;
        signal?.throwIfAborted();
        throw new TsswarmError('REGISTRY_UNAVAILABLE', `pulling the blob "${digest}": ${messageOf(error)}`, {
          cause: error,
        });
      } finally {
        await writer.abandon();
      }
    });
  }
}

/** Ends a stream that says nothing for {@link IDLE_MS}: a limit on silence, not on the whole download. */
async function* withIdleLimit(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  const reader = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      let cancel: () => void = () => undefined;
      const silence = new Promise<never>((_, reject) => {
        const timer = systemClock.startTimer(IDLE_MS, () =>
          reject(new Error(`the registry sent nothing for ${IDLE_MS / 1000} s`)),
        );
        cancel = () => timer.cancel();
      });
      try {
        const next = await Promise.race([reader.next(), silence]);
        if (next.done === true) return;
        yield next.value;
      } finally {
        cancel();
      }
    }
  } finally {
    await reader.return?.();
  }
}
