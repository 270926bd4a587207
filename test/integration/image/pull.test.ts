import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isTsswarmError } from '../../../base/errors.ts';
import { silentLogger } from '../../../base/log.ts';
import { createImageStore } from '../../../node-engine/image/index.ts';
import type { ImageStore } from '../../../node-engine/image/index.ts';
import type { ImageProgress } from '../../../node-engine/types.ts';

const root = join(import.meta.dirname, '..', '..', '..');
const archive = join(root, '.cache', 'images', 'busybox.tar');

/** Debian's registry on a port of this machine that is free, with its storage in `dir`. */
async function startRegistry(dir: string): Promise<{ readonly address: string; readonly process: ChildProcess }> {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => probe.once('listening', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  const config = join(dir, 'registry.yml');
  writeFileSync(
    config,
    `version: 0.1\nstorage: {filesystem: {rootdirectory: ${dir}/storage}, delete: {enabled: true}}\nhttp: {addr: "127.0.0.1:${port}"}\n`,
  );
  const process = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  for (let i = 0; i < 100; i++) {
    if (
      await fetch(`http://127.0.0.1:${port}/v2/`).then(
        (r) => r.ok,
        () => false,
      )
    )
      break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { address: `127.0.0.1:${port}`, process };
}

describe('pulling from a real registry', function () {
  let dir: string;
  let registry: Awaited<ReturnType<typeof startRegistry>>;
  let store: ImageStore;
  let opened = 0;
  const open = (at = join(dir, `store${opened++}`)): Promise<ImageStore> => {
    mkdirSync(at, { recursive: true });
    return createImageStore({ dir: join(at, 'images'), layersDir: join(at, 'layers'), logger: silentLogger });
  };
  const pull = async (name: string, from = store): Promise<{ id: string; events: ImageProgress[] }> => {
    const events: ImageProgress[] = [];
    return { id: (await from.pull(`${registry.address}/${name}`, (event) => events.push(event))).id, events };
  };

  before(async function () {
    this.timeout(120_000);
    dir = mkdtempSync(join(tmpdir(), 'tsswarm-pull-'));
    if (!existsSync(archive))
      execFileSync(process.execPath, [join(root, 'deploy/images/build.ts'), 'busybox'], { stdio: 'ignore' });
    registry = await startRegistry(dir);
    execFileSync(
      'skopeo',
      [
        'copy',
        '--dest-tls-verify=false',
        `docker-archive:${archive}:busybox:latest`,
        `docker://${registry.address}/busybox:1`,
      ],
      { stdio: 'pipe' },
    );
  });
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());
  after(() => {
    registry.process.kill();
    rmSync(dir, { recursive: true, force: true });
  });

  it('fetches, checks and unpacks an image, and tells how far it is', async () => {
    const { id, events } = await pull('busybox:1');
    const image = store.find(`${registry.address}/busybox:1`);
    assert.equal(image?.id, id);
    assert.match(image.digest, /^sha256:[0-9a-f]{64}$/);
    assert.ok(existsSync(join(store.layerPaths(id)[0] ?? '', 'usr/bin/busybox')));
    const states = events.filter((event) => event.id !== '').map(({ status }) => status);
    assert.equal(states[0], 'waiting');
    assert.ok(states.includes('downloading') && states.includes('extracting'));
    assert.equal(states.at(-1), 'done');
  });

  it('fetches no layer again', async () => {
    await pull('busybox:1');
    const { events } = await pull('busybox:1');
    assert.ok(events.some(({ status }) => status === 'exists'));
    assert.ok(!events.some(({ status }) => status === 'downloading'));
  });

  it('pulls by digest, and survives a restart of the store', async () => {
    const at = join(dir, 'restart');
    const first = await open(at);
    await pull('busybox:1', first);
    const digest = first.list()[0]?.digest ?? '';
    await first.close();
    const again = await open(at);
    assert.equal(again.list().length, 1);
    const { events } = await pull(`busybox@${digest}`, again);
    assert.ok(events.some(({ status }) => status === 'exists'));
    await again.close();
  });

  it('pulls the same image once when two ask for it together', async () => {
    const both = await Promise.all([pull('busybox:1'), pull('busybox:1')]);
    assert.equal(both.filter(({ events }) => events.some(({ status }) => status === 'downloading')).length, 1);
  });

  it('says that an image or tag is not there', async () => {
    for (const name of ['busybox:nosuchtag', 'nosuchimage']) {
      await assert.rejects(
        pull(name),
        (error) => isTsswarmError(error, 'IMAGE_NOT_FOUND') && error.message.includes('no such image or tag'),
      );
    }
    assert.deepEqual(store.list(), []);
  });

  it('says that the registry is not there, by name', async () => {
    await assert.rejects(
      store.pull('localhost:4999/x', () => undefined),
      (error) => {
        assert.ok(isTsswarmError(error, 'REGISTRY_UNAVAILABLE'));
        assert.equal(
          error.message,
          'pulling "localhost:4999/x": the registry "localhost:4999" cannot be used: ECONNREFUSED',
        );
        return true;
      },
    );
  });

  it('refuses bytes that are not those that were named, and keeps nothing of them', async () => {
    execFileSync(
      'skopeo',
      [
        'copy',
        '--dest-tls-verify=false',
        `docker-archive:${archive}:busybox:latest`,
        `docker://${registry.address}/tampered:1`,
      ],
      { stdio: 'pipe' },
    );
    const blobs = join(dir, 'storage/docker/registry/v2/blobs/sha256');
    const files = readdirSync(blobs, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('/data'))
      .map((name) => join(blobs, name));
    const layer = files.toSorted((a, b) => readFileSync(b).length - readFileSync(a).length)[0] ?? '';
    const good = readFileSync(layer);
    const bad = Buffer.from(good);
    bad[1000] = (bad[1000] ?? 0) ^ 1;
    writeFileSync(layer, bad);
    try {
      await assert.rejects(pull('tampered:1'), (error) => isTsswarmError(error, 'DIGEST_MISMATCH'));
      assert.deepEqual(store.list(), []);
    } finally {
      writeFileSync(layer, good);
    }
    await pull('tampered:1');
  });

  it('goes on where a broken connection ended', async () => {
    const ranges: (string | undefined)[] = [];
    let cut = true;
    const flaky = createServer((request, response) => {
      void (async () => {
        const answer = await fetch(`http://${registry.address}${request.url ?? ''}`, {
          headers: {
            accept: request.headers.accept ?? '',
            ...(request.headers.range === undefined ? {} : { range: request.headers.range }),
          },
        });
        const body = Buffer.from(await answer.arrayBuffer());
        response.writeHead(answer.status, {
          'content-type': answer.headers.get('content-type') ?? '',
          'content-length': body.length,
        });
        const isLayer = body.length > 500_000;
        if (isLayer) ranges.push(request.headers.range);
        if (!isLayer || !cut) return response.end(body);
        cut = false;
        response.write(body.subarray(0, 300_000), () => setTimeout(() => response.destroy(), 50));
      })();
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => flaky.once('listening', resolve));
    try {
      const { port } = flaky.address() as AddressInfo;
      const image = await store.pull(`127.0.0.1:${port}/busybox:1`, () => undefined);
      assert.equal(image.layers.length, 1);
      assert.equal(ranges[0], undefined);
      assert.match(ranges[1] ?? '', /^bytes=\d{5,}-$/);
    } finally {
      flaky.close();
      flaky.closeAllConnections();
    }
  });

  it('says how much room was needed when the disk is full, and leaves nothing half', async () => {
    const small = join(dir, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=700k', 'tmpfs', small]);
    try {
      const full = await open(small);
      await assert.rejects(pull('busybox:1', full), (error) => {
        assert.ok(isTsswarmError(error, 'DISK_FULL'), String(error));
        assert.match(error.message, /no space left in ".*small.*" \(.* left\), .* were needed/);
        return true;
      });
      assert.deepEqual(full.list(), []);
      await full.close();
      assert.deepEqual(readdirSync(join(small, 'images', 'tmp')), []);
    } finally {
      execFileSync('umount', [small]);
    }
  });
});
