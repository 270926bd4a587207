import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/** A layer as an uncompressed tar: its digest is also its diff id. */
export interface Layer {
  readonly digest: string;
  readonly sizeBytes: number;
  readonly path: string;
}

const blobPath = (dir: string, digest: string): string => join(dir, 'blobs', 'sha256', digest.replace('sha256:', ''));

/** Packs `root` as a layer into `workDir`; the same tree gives the same bytes. */
export async function packLayer(root: string, workDir: string, name: string): Promise<Layer> {
  const path = join(workDir, `${name}.layer.tar`);
  execFileSync('tar', [
    '--create',
    '--file',
    path,
    '--directory',
    root,
    '--sort=name',
    '--numeric-owner',
    '--mtime=@0',
    '--clamp-mtime',
    '--format=posix',
    '--pax-option=delete=atime,delete=ctime',
    '--xattrs',
    '.',
  ]);
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes: statSync(path).size, path };
}

/**
 * Writes an archive that is both an OCI image layout and what `docker load` reads (manifest.json).
 * @param config the image's `config` object
 */
export function writeArchive(
  output: string,
  workDir: string,
  names: readonly string[],
  layers: readonly Layer[],
  config: Readonly<Record<string, unknown>>,
  architecture: string,
): void {
  const dir = join(workDir, 'layout');
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(join(dir, 'blobs', 'sha256'), { recursive: true });
  for (const layer of layers) execFileSync('cp', ['--reflink=auto', layer.path, blobPath(dir, layer.digest)]);
  const addJson = (mediaType: string, value: unknown): { mediaType: string; digest: string; size: number } => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    writeFileSync(blobPath(dir, digest), bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const imageConfig = addJson('application/vnd.oci.image.config.v1+json', {
    created: '1970-01-01T00:00:00Z',
    architecture,
    os: 'linux',
    config,
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.digest) },
    history: layers.map(() => ({ created: '1970-01-01T00:00:00Z', created_by: 'made from Debian packages' })),
  });
  const manifest = addJson('application/vnd.oci.image.manifest.v1+json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: imageConfig,
    layers: layers.map((layer) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest: layer.digest,
      size: layer.sizeBytes,
    })),
  });
  const full = (name: string): string => `docker.io/library/${name}`;
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(dir, 'index.json'),
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: names.map((name) => ({
        ...manifest,
        annotations: {
          'io.containerd.image.name': full(name),
          'org.opencontainers.image.ref.name': name.split(':')[1],
        },
      })),
    }),
  );
  writeFileSync(
    join(dir, 'manifest.json'),
    JSON.stringify([
      {
        Config: `blobs/sha256/${imageConfig.digest.slice(7)}`,
        RepoTags: names,
        Layers: layers.map((layer) => `blobs/sha256/${layer.digest.slice(7)}`),
      },
    ]),
  );
  execFileSync('tar', [
    '--create',
    '--file',
    `${output}.new`,
    '--directory',
    dir,
    '--sort=name',
    'oci-layout',
    'manifest.json',
    'index.json',
    'blobs',
  ]);
  renameSync(`${output}.new`, output);
  rmSync(dir, { recursive: true });
}

/** Reads a JSON file, or undefined when there is none. */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as unknown;
  } catch {
    return undefined;
  }
}
