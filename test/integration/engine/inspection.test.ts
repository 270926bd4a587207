import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContainerId } from '../../../base/ids.ts';
import type { InspectableEngine } from '../../../node-engine/index.ts';
import { isTsswarmError } from '../../../base/errors.ts';
import type { Mount } from '../../../proto/types/index.ts';
import { EngineFixture } from './engine-fixture.ts';

describe('looking into containers', function () {
  this.timeout(60_000);
  const fixture = new EngineFixture();
  let engine: InspectableEngine;
  const dir = mkdtempSync(join(tmpdir(), 'tsswarm-inspect-'));
  before(async () => {
    engine = (await fixture.start()) as InspectableEngine;
  });
  after(async () => {
    await fixture.dispose();
    rmSync(dir, { recursive: true });
  });

  const pack = async (id: ContainerId, path: string, name = '', followLink = false): Promise<Buffer> =>
    engine.inspection.files(id, async (tree) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of tree.pack(path, { followLink, name })) chunks.push(chunk);
      return Buffer.concat(chunks);
    });
  const unpack = (id: ContainerId, path: string, archive: Uint8Array, keepOwners = false) =>
    engine.inspection.files(id, (tree) =>
      tree.unpack(
        path,
        (async function* () {
          yield archive;
        })(),
        { keepOwners },
      ),
    );
  const stat = (id: ContainerId, path: string, followLink = false) =>
    engine.inspection.files(id, (tree) => tree.stat(path, followLink));
  const tar = (archive: Buffer, ...flags: readonly string[]): string =>
    execFileSync('tar', flags, { input: archive, encoding: 'utf8' });
  const archiveOf = (name: string, content: string): Buffer => {
    writeFileSync(join(dir, name), content);
    return execFileSync('tar', ['-C', dir, '-c', name]);
  };
  const volume = (target: string): Mount => ({
    type: 'volume',
    source: 'inspected',
    target,
    readOnly: false,
    noCopy: false,
    subpath: '',
    driver: 'local',
    driverOptions: {},
    labels: {},
  });

  it('measures what a container uses', async () => {
    // What is said comes when both processes are there.
    const line =
      'head -c 30000000 /dev/zero | tail >/dev/null; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 100 & echo done; wait';
    const id = await fixture.up(fixture.request(['sh', '-c', line]));
    for await (const _ of engine.containers.logs(id, { follow: true, tail: -1, since: 0, until: 0 })) break;
    const usage = engine.inspection.usage(id);
    assert.ok(usage.cpuNs > 1e6, String(usage.cpuNs));
    assert.ok(usage.memoryBytes > 10_000 && usage.memoryBytes < 1e9, String(usage.memoryBytes));
    assert.ok(usage.memoryLimitBytes >= 64 << 20);
    assert.equal(usage.processes, 2);
    await engine.containers.remove(id);
    assert.throws(() => engine.inspection.usage(id), /there is no such container/);
  });

  it('tells what a container listens to', async () => {
    const id = await fixture.up(fixture.request(['sh', '-c', 'nc -l -p 81; sleep 100']));
    for (;;) if ((await engine.containers.listening?.(id))?.size !== 0) break;
    assert.deepEqual(await engine.containers.listening?.(id), new Set([81]));
    await engine.containers.remove(id);
    assert.equal(await engine.containers.listening?.(id), undefined);
  });

  it('tells the limit of the memory', async () => {
    const id = await fixture.up(fixture.request(['sleep', '100'], {}, { limits: { memoryBytes: 64 << 20 } }));
    assert.equal(engine.inspection.usage(id).memoryLimitBytes, 64 << 20);
    await engine.containers.remove(id);
  });

  it('lists processes with what was executed beside them, and not the supervisor', async () => {
    const id = await fixture.up(fixture.request(['sleep', '1000']));
    const request = { env: [], user: '', workingDir: '', tty: false, stdin: false, privileged: false };
    const session = await engine.containers.exec(id, { ...request, argv: ['sleep', '2000'] });
    const { titles, processes } = engine.inspection.processes(id);
    assert.deepEqual(titles, ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD']);
    assert.deepEqual(processes.map(({ values }) => values.at(-1)).sort(), ['sleep 1000', 'sleep 2000']);
    for (const { values } of processes) assert.equal(values[0], 'root');
    session.close();
    await engine.containers.remove(id);
  });

  it('reads and writes files of a running container', async () => {
    const setup =
      'mkdir -p /d/sub && echo one > /d/one && ln -s one /d/link && ln /d/one /d/sub/hard && chmod 640 /d/one; sleep 100';
    const id = await fixture.up(fixture.request(['sh', '-c', `${setup}`]));
    for (;;) if ((await stat(id, '/d/sub/hard')) !== undefined) break;
    assert.equal((await stat(id, '/d/link'))?.linkTarget, 'one');
    assert.equal((await stat(id, '/d/link', true))?.sizeBytes, 4);
    assert.equal(await stat(id, '/nowhere/x'), undefined);
    const archive = await pack(id, '/d', 'renamed');
    assert.deepEqual(tar(archive, '-t').trim().split('\n'), [
      'renamed/',
      'renamed/link',
      'renamed/one',
      'renamed/sub/',
      'renamed/sub/hard',
    ]);
    assert.equal(tar(archive, '-x', '-O', 'renamed/one'), 'one\n');
    assert.equal(tar(await pack(id, '/d/link', '', true), '-x', '-O', 'link'), 'one\n');
    assert.deepEqual(await unpack(id, '/d', archiveOf('new', 'written')), { bytes: 7 });
    assert.equal(tar(await pack(id, '/d/new'), '-x', '-O'), 'written');
    await engine.containers.remove(id);
  });

  it('reads and writes files of one that does not run, its volumes with them', async () => {
    const request = fixture.request(['sh', '-c', 'echo kept > /vol/file; echo mine > /own'], {
      mounts: [volume('/vol')],
    });
    const id = await fixture.up(request);
    await engine.containers.wait(id);
    assert.equal(tar(await pack(id, '/vol/file'), '-x', '-O'), 'kept\n');
    assert.equal(tar(await pack(id, '/own'), '-x', '-O'), 'mine\n');
    await unpack(id, '/vol', archiveOf('later', 'for the volume'));
    await unpack(id, '/', archiveOf('own', 'for the root'));
    assert.equal(await stat(id, '/proc/1'), undefined, 'nothing of the node is there');
    await engine.containers.remove(id);
    const next = await fixture.run('cat /vol/later', { mounts: [volume('/vol')] });
    assert.equal(next.stdout, 'for the volume');
    const fresh = fixture.request(['cat', '/before']);
    await engine.containers.create(fresh);
    await unpack(fresh.id, '/', archiveOf('before', 'before the first start'));
    assert.equal((await stat(fresh.id, '/before'))?.sizeBytes, 22);
    await engine.containers.remove(fresh.id);
    await engine.volumes.remove('inspected');
  });

  const traps: readonly [
    title: string,
    setup: string,
    archive: () => Buffer,
    path: string,
    outcome: RegExp | undefined,
  ][] = [
    [
      'a link to the root of the node',
      'ln -s /proc/1/root /trap',
      () => archiveOf('f', 'x'),
      '/trap',
      /ELOOP|symbolic|No such/i,
    ],
    ['a link with many ..', 'ln -s ../../../../../.. /trap', () => archiveOf('f-in-root', 'x'), '/trap', undefined],
    ['a link in the way of a folder', 'mkdir /t && ln -s /etc /t/f', () => archiveOf('f', 'x'), '/t', undefined],
  ];
  for (const [title, setup, archive, path, outcome] of traps) {
    it(`leads nobody out: ${title}`, async () => {
      const id = await fixture.up(fixture.request(['sh', '-c', `${setup}; touch /ready; sleep 100`]));
      for (;;) if ((await stat(id, '/ready')) !== undefined) break;
      const work = unpack(id, path, archive());
      if (outcome === undefined) {
        await work;
        assert.equal(await stat(id, '/etc/f'), undefined, 'the link was replaced, not followed');
      } else await assert.rejects(work, outcome);
      await engine.containers.remove(id);
    });
  }

  it('takes no archive that is damaged, or leads out', async () => {
    const id = await fixture.up(fixture.request(['sleep', '100']));
    const refused = (archive: Uint8Array, message: RegExp): Promise<void> =>
      assert.rejects(
        unpack(id, '/tmp', archive),
        (error) => isTsswarmError(error, 'INVALID_INPUT') && message.test(error.message),
      );
    await unpack(id, '/', execFileSync('tar', ['-C', dir, '-c', '--transform', 's,.*,tmp,', '--no-recursion', '.']));
    await refused(Buffer.from('no archive at all'), /it ends in the middle/);
    await refused(Buffer.alloc(1024, 'x'), /no tar archive, or damaged/);
    writeFileSync(join(dir, 'f'), 'x');
    await refused(execFileSync('tar', ['-P', '-C', dir, '-c', '--transform', 's,f,../f,', 'f']), /leads out of it/);
    const cut = archiveOf('long', 'y'.repeat(5000)).subarray(0, 2000);
    await refused(cut, /it ends in the middle/);
    await engine.containers.remove(id);
  });
});
