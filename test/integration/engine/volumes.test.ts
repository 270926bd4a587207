import { deepEqual, equal, rejects } from 'node:assert/strict';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VolumeMount } from '../../../proto/types/index.ts';
import { EngineFixture } from './engine-fixture.ts';

describe('volumes', () => {
  const fixture = new EngineFixture();
  const volume = (source: string, over: Partial<VolumeMount> = {}): VolumeMount => ({
    type: 'volume',
    source,
    target: '/data',
    readOnly: false,
    noCopy: false,
    subpath: '',
    driver: '',
    driverOptions: {},
    labels: {},
    ...over,
  });
  before(() => fixture.start());
  after(() => fixture.dispose());
  afterEach(() => deepEqual(fixture.leftovers(), []));

  it('outlive their containers, and daemons', async () => {
    await fixture.run('echo kept > /data/file', { mounts: [volume('keep', { labels: { a: 'b' } })] });
    await fixture.restart();
    equal((await fixture.run('cat /data/file', { mounts: [volume('keep')] })).stdout, 'kept\n');
    deepEqual(fixture.engine.volumes.inspect('keep')?.labels, { a: 'b' });
    await fixture.engine.volumes.remove('keep');
    equal(fixture.engine.volumes.inspect('keep'), undefined);
    await fixture.engine.volumes.remove('keep');
  });

  it('are filled once with what the image has at their target', async () => {
    const look =
      'cat /seed/own/file 2>/dev/null; stat -c "%u %a" /seed/own; readlink /seed/own/link; echo changed > /seed/own/file';
    const mounts = [volume('seeded', { target: '/seed/own' })];
    equal((await fixture.run(look, { mounts })).stdout, 'from the image\n1000 750\nfile\n');
    equal((await fixture.run(look, { mounts })).stdout, 'changed\n1000 750\nfile\n');
    equal(
      (await fixture.run(look, { mounts: [volume('plain', { target: '/seed/own', noCopy: true })] })).stdout,
      '0 755\n',
    );
  });

  it('are shared by containers, read-only where asked for', async () => {
    const writer = await fixture.up(
      fixture.request(['sh', '-c', 'echo w > /data/w; echo ready; sleep 1000'], { mounts: [volume('shared')] }),
    );
    await fixture.written(writer, 'ready');
    const reader = await fixture.run('cat /data/w; touch /data/x 2>/dev/null || echo refused', {
      mounts: [volume('shared', { readOnly: true })],
    });
    equal(reader.stdout, 'w\nrefused\n');
    await rejects(fixture.engine.volumes.remove('shared'), { code: 'IN_USE', message: /container "test-/ });
    await fixture.engine.containers.remove(writer);
    await fixture.engine.volumes.remove('shared');
  });

  it('of the image without a name go with their container', async () => {
    const before = fixture.engine.volumes.list().length;
    const image = await fixture.load('engine-test/declares:latest', { Volumes: { '/seed/own': {} } });
    const id = await fixture.up(fixture.request(['cat', '/seed/own/file'], {}, { imageId: image.id }));
    equal(fixture.engine.volumes.list().length, before + 1);
    await fixture.engine.containers.wait(id);
    equal(await fixture.output(id, 'stdout'), 'from the image\n');
    await fixture.engine.containers.remove(id);
    equal(fixture.engine.volumes.list().length, before);
  });

  it('show a folder of theirs, never through a link that leads out', async () => {
    const { mountpoint } = await fixture.engine.volumes.ensure({
      name: 'parts',
      driver: 'local',
      driverOptions: {},
      labels: {},
    });
    mkdirSync(join(mountpoint, 'a/b'), { recursive: true });
    writeFileSync(join(mountpoint, 'a/b/file'), 'deep\n');
    symlinkSync('/etc', join(mountpoint, 'out'));
    equal((await fixture.run('cat /data/file', { mounts: [volume('parts', { subpath: 'a/b' })] })).stdout, 'deep\n');
    for (const subpath of ['out', 'a/none']) {
      await rejects(fixture.run('true', { mounts: [volume('parts', { subpath })] }), { code: 'BIND_SOURCE_MISSING' });
    }
    await rejects(fixture.run('true', { mounts: [volume('parts', { subpath: '../x' })] }), { code: 'INVALID_INPUT' });
    for (const { id } of fixture.engine.containers.list()) await fixture.engine.containers.remove(id);
  });

  it('of a bind device are that folder', async () => {
    const device = join(fixture.root, 'device');
    mkdirSync(device);
    const bound = volume('bound', { driverOptions: { type: 'none', o: 'bind', device } });
    await fixture.run('echo here > /data/file', { mounts: [bound] });
    equal(readFileSync(join(device, 'file'), 'utf8'), 'here\n');
    await fixture.engine.volumes.remove('bound');
    equal(readFileSync(join(device, 'file'), 'utf8'), 'here\n', 'a device is not removed with its volume');
  });

  it('of another file system are mounted while a container runs', async () => {
    const memory = volume('memory', { driverOptions: { type: 'tmpfs', o: 'size=1m,nosuid', device: 'tmpfs' } });
    const { stdout } = await fixture.run("df -Pk /data | tail -1 | awk '{print $1, $2}'", { mounts: [memory] });
    equal(stdout, 'tmpfs 1024\n');
  });

  it('of an unknown driver or option are refused', async () => {
    await rejects(fixture.run('true', { mounts: [volume('x', { driver: 'cloud' })] }), { code: 'NOT_SUPPORTED' });
    await rejects(fixture.run('true', { mounts: [volume('x', { driverOptions: { speed: 'fast' } })] }), {
      code: 'INVALID_INPUT',
    });
    await rejects(fixture.run('true', { mounts: [volume('../x')] }), { code: 'INVALID_INPUT' });
    equal(fixture.engine.volumes.inspect('x'), undefined);
  });
});
