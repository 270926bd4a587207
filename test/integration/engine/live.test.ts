import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerId } from '../../../base/ids.ts';
import { attachDeviceProgram } from '../../../node-engine/native/addon.ts';
import type { ContainerCreate, FileContent, FoundDrift } from '../../../node-engine/types.ts';
import type { DeviceMapping } from '../../../proto/types/index.ts';
import { cgroupMounts, eventually } from '../launcher/fixture.ts';
import { EngineFixture } from './engine-fixture.ts';

const file = (name: string, text: string, signal?: string): FileContent => ({
  target: `/run/secrets/${name}`,
  uid: 0,
  gid: 0,
  mode: 0o444,
  data: Buffer.from(text),
  ...(signal === undefined ? {} : { signal }),
});

/** Says what it sees each time that it is told to look. */
const WATCHER = `
look() { echo "$1 $(cat /run/secrets/one) $(cat /run/secrets/two) $(hostname)"; }
trap 'look HUP' HUP
trap 'look USR1' USR1
echo ready
while :; do sleep 1000 & wait $!; done`;

describe('new content of a secret', () => {
  const fixture = new EngineFixture();
  before(async () => {
    await fixture.start();
  });
  after(() => fixture.dispose());

  /** Lines of a container, as they come. */
  const lines = (id: ContainerId): AsyncGenerator<string> =>
    (async function* () {
      for await (const { data } of fixture.engine.containers.logs(id, { follow: true, tail: -1, since: 0, until: 0 }))
        yield* Buffer.from(data).toString().trim().split('\n');
    })();
  const next = async (from: AsyncGenerator<string>): Promise<string> => String((await from.next()).value);
  const update = ({ imageId: _, adopt: _adopt, ...request }: ContainerCreate): Promise<readonly string[]> => {
    ok(fixture.engine.containers.update);
    return fixture.engine.containers.update(request);
  };

  it('signals the main process as it is asked for, once, when all of the change is there', async () => {
    const first = fixture.request(
      ['sh', '-c', WATCHER],
      { hostname: 'a' },
      {
        secrets: [file('one', '1', 'SIGHUP'), file('two', '2', 'SIGHUP')],
      },
    );
    const id = await fixture.up(first);
    const said = lines(id);
    equal(await next(said), 'ready');
    const { pid } = fixture.engine.containers.inspect(id) ?? {};
    const secrets = [file('one', '10', 'SIGHUP'), file('two', '20', 'SIGHUP')];
    const second = { ...first, spec: { ...first.spec, hostname: 'b' }, secrets };
    deepEqual(await update(second), ['mounts', 'names', 'signal']);
    equal(await next(said), 'HUP 10 20 b');
    // The same again, another setting, and content that nobody wants to be told of: no signal. The next one that is said is the last one's.
    deepEqual(await update(second), []);
    deepEqual(await update({ ...second, labels: { a: 'b' } }), []);
    const quiet = [file('one', '100'), file('two', '20', 'SIGUSR1')];
    deepEqual(await update({ ...second, secrets: quiet }), ['mounts']);
    deepEqual(await update({ ...second, secrets: [file('one', '100'), file('two', '200', 'SIGUSR1')] }), [
      'mounts',
      'signal',
    ]);
    equal(await next(said), 'USR1 100 200 b');
    equal(fixture.engine.containers.inspect(id)?.pid, pid);
    await said.return(undefined);
    await fixture.engine.containers.remove(id);
  });

  it('is refused as a whole with a signal that does not exist', async () => {
    const first = fixture.request(['sh', '-c', WATCHER], {}, { secrets: [file('one', '1', 'SIGHUP')] });
    const id = await fixture.up(first);
    await rejects(update({ ...first, secrets: [file('one', '10', 'SIGNONE')] }), {
      code: 'INVALID_INPUT',
      message: /reading the signal "SIGNONE"/,
    });
    await fixture.engine.containers.remove(id);
  });
});

/** Makes an empty file of its own, and says which files there are each time that it is told to look. */
const LISTER = `
mkdir -p /run/secrets; touch /run/secrets/own
look() { echo $(ls /run/secrets); }
trap look USR1
echo ready
while :; do sleep 1000 & wait $!; done`;

describe('a secret that is taken away', () => {
  const fixture = new EngineFixture();
  before(async () => {
    await fixture.start();
  });
  after(() => fixture.dispose());

  it('leaves no file behind, whether it was there from the start or not; a file of the container’s own stays', async () => {
    const first = fixture.request(['sh', '-c', LISTER], {}, { secrets: [file('one', '1')] });
    const id = await fixture.up(first);
    const lines = (async function* () {
      for await (const { data } of fixture.engine.containers.logs(id, { follow: true, tail: -1, since: 0, until: 0 }))
        yield* Buffer.from(data).toString().trim().split('\n');
    })();
    const says = async (): Promise<string> => String((await lines.next()).value);
    const files = async (...secrets: readonly FileContent[]): Promise<string> => {
      const { imageId: _, adopt: _adopt, ...request } = { ...first, secrets };
      await fixture.engine.containers.update?.(request);
      await fixture.engine.containers.kill(id, 'SIGUSR1');
      return says();
    };
    equal(await says(), 'ready');
    equal(await files(file('one', '1'), file('two', '2'), file('own', '3')), 'one own two');
    equal(await files(file('two', '2')), 'own two');
    equal(await files(), 'own');
    equal(await files(file('one', '4')), 'one own');
    await lines.return(undefined);
    await fixture.engine.containers.remove(id);
  });
});

/** Says, each time that it is told to look, whether it can open the device that is not always there, and knows no other process. */
const PROBE = `
look() { (: < /dev/here) 2>/dev/null && echo open $$ || echo shut $$; }
trap look USR1
echo ready
while :; do sleep 1000 & wait $!; done`;

describe('the devices of a container that runs', () => {
  const fixture = new EngineFixture();
  before(async () => {
    await fixture.start();
  });
  after(() => fixture.dispose());

  const here: DeviceMapping = { source: '/dev/loop-control', target: '/dev/here', permissions: 'r' };
  const update = ({ imageId: _, adopt: _adopt, ...request }: ContainerCreate): Promise<readonly string[]> => {
    ok(fixture.engine.containers.update);
    return fixture.engine.containers.update(request);
  };
  /** Has it look, and returns what all looks have seen. */
  const looks = async (id: ContainerId, count: number): Promise<string> => {
    await fixture.engine.containers.kill(id, 'SIGUSR1');
    await eventually(async () => (await fixture.output(id, 'stdout')).split('\n').length > count + 1);
    return (await fixture.output(id, 'stdout')).replace('ready\n', '');
  };
  const start = async (devices: readonly DeviceMapping[]): Promise<ContainerCreate> => {
    const request = fixture.request(['sh', '-c', PROBE], { devices });
    await fixture.up(request);
    await fixture.written(request.id, 'ready');
    return request;
  };
  const withDevices = (request: ContainerCreate, devices: readonly DeviceMapping[]): ContainerCreate => ({
    ...request,
    spec: { ...request.spec, devices },
  });

  it('come and go for the same process', async () => {
    const bare = await start([]);
    const { id } = bare;
    const { pid } = fixture.engine.containers.inspect(id) ?? {};
    equal(await looks(id, 1), 'shut 1\n');
    deepEqual(await update(withDevices(bare, [here])), ['devices']);
    equal(await looks(id, 2), 'shut 1\nopen 1\n');
    deepEqual(await update(bare), ['devices']);
    equal(await looks(id, 3), 'shut 1\nopen 1\nshut 1\n');
    equal(fixture.engine.containers.inspect(id)?.pid, pid);
    ok(fixture.engine.info().live.includes('devices'));
    await fixture.engine.containers.remove(id);
  });

  it('are what they shall be when an engine ended between the rights and the node', async () => {
    const bare = await start([]);
    const { id } = bare;
    const given = withDevices(bare, [here]);
    const files = join(fixture.stateDir, 'engine/containers', id);
    const before = readFileSync(join(files, 'container.json'));
    await update(given);
    const after = readFileSync(join(files, 'container.json'));
    // Half of it: the rights are there, the node is not, and the record is the one of before.
    const { pid } = fixture.engine.containers.inspect(id) ?? {};
    await fixture.engine.close();
    rmSync(`/proc/${pid}/root/dev/here`);
    writeFileSync(join(files, 'container.json'), before);
    writeFileSync(join(files, 'changing.json'), after);
    await fixture.restart();
    equal(await looks(id, 1), 'open 1\n');
    ok(!existsSync(join(files, 'changing.json')));
    deepEqual(await update(given), []);
    // The other half: what cannot be finished is taken back, the rights with it.
    await fixture.engine.close();
    const broken = JSON.parse(after.toString()) as { spec: { devices: DeviceMapping[] } };
    broken.spec.devices.push({ source: '/dev/gone', target: '', permissions: '' });
    writeFileSync(join(files, 'container.json'), before);
    writeFileSync(join(files, 'changing.json'), JSON.stringify(broken));
    await fixture.restart();
    equal(await looks(id, 2), 'open 1\nshut 1\n');
    await fixture.engine.containers.remove(id);
  });

  it('are given back their rights when somebody has changed these by hand', async () => {
    const request = await start([here]);
    const { id } = request;
    const { imageId: _, adopt: _adopt, ...wanted } = request;
    const { checkDrift } = fixture.engine.containers;
    ok(checkDrift);
    const drift = (): Promise<readonly FoundDrift[]> =>
      checkDrift.call(fixture.engine.containers, wanted, { repair: true });
    deepEqual(await drift(), []);
    equal(await looks(id, 1), 'open 1\n');
    takeRights(fixture.cgroupParent, id);
    equal(await looks(id, 2), 'open 1\nshut 1\n');
    const found = await drift();
    ok(found.length > 0 && found.every(({ field, repaired }) => field.startsWith('device rule ') && repaired));
    equal(await looks(id, 3), 'open 1\nshut 1\nopen 1\n');
    deepEqual(await drift(), []);
    await fixture.engine.containers.remove(id);
  });
});

/** As somebody who wants a container to have no right to the loop driver. */
function takeRights(parent: string, id: ContainerId): void {
  const v1 = cgroupMounts().find(({ rest }) => rest.startsWith('cgroup ') && /\bdevices\b/.test(rest));
  const v2 = cgroupMounts().find(({ rest }) => rest.startsWith('cgroup2 '));
  if (v1) writeFileSync(join(v1.path, parent, id, 'devices.deny'), 'c 10:237 r');
  else
    attachDeviceProgram(join(v2?.path ?? '', parent, id), [
      { allow: false, type: 'a', major: -1, minor: -1, access: 'rwm' },
    ]);
}
