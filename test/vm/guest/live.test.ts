import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ContainerCreate, FoundDrift } from '../../../node-engine/types.ts';
import type { ResourceLimits } from '../../../proto/types/index.ts';
import { EngineFixture } from '../../integration/engine/engine-fixture.ts';
import { eventually } from '../../integration/launcher/fixture.ts';

const ROOT = '/sys/fs/cgroup';
const MIB = 1024 * 1024;
const DISK = '/dev/vda';

/** Files and what they say: before any limit, with all, and with others. */
const NONE = {
  'cpu.max': 'max 100000',
  'cpu.weight': '100',
  'cpuset.cpus': '',
  'memory.max': 'max',
  'memory.swap.max': 'max',
  'pids.max': 'max',
  'io.max': '',
};
const number = ((rdev) => `${(rdev >> 8) & 0xfff}:${rdev & 0xff}`)(statSync(DISK).rdev);
const CASES: readonly (readonly [title: string, limits: ResourceLimits, files: Record<string, string>])[] = [
  [
    'are set',
    {
      ...{ nanoCpus: 250_000_000, cpuShares: 512, cpusetCpus: '1', memoryBytes: 64 * MIB, memorySwapBytes: 96 * MIB },
      ...{ pids: 21, blockIo: { readBps: [{ path: DISK, value: MIB }], writeIops: [{ path: DISK, value: 400 }] } },
    },
    {
      'cpu.max': '25000 100000',
      'cpu.weight': '20',
      'cpuset.cpus': '1',
      'memory.max': `${64 * MIB}`,
      'memory.swap.max': `${32 * MIB}`,
      'pids.max': '21',
      'io.max': `${number} rbps=${MIB} wbps=max riops=max wiops=400`,
    },
  ],
  [
    'are raised, lowered and exchanged',
    {
      ...{ nanoCpus: 1_500_000_000, cpuShares: 2048, cpusetCpus: '0-1', memoryBytes: 128 * MIB, pids: 7 },
      ...{ memorySwapBytes: -1, blockIo: { writeBps: [{ path: DISK, value: 2 * MIB }] } },
    },
    {
      'cpu.max': '150000 100000',
      'cpu.weight': '79',
      'cpuset.cpus': '0-1',
      'memory.max': `${128 * MIB}`,
      'memory.swap.max': 'max',
      'pids.max': '7',
      'io.max': `${number} rbps=max wbps=${2 * MIB} riops=max wiops=max`,
    },
  ],
  ['are lifted', {}, NONE],
];

describe('limits of a container that runs where only version 2 is there', () => {
  const fixture = new EngineFixture();
  let request: ContainerCreate;
  let pid: number | undefined;
  before(async () => {
    await fixture.start();
    request = fixture.request(['sh', '-c', 'echo ready; sleep 100000'], { stopSignal: 'SIGKILL' });
    await fixture.up(request);
    await fixture.written(request.id, 'ready');
    pid = fixture.engine.containers.inspect(request.id)?.pid;
  });
  after(() => fixture.dispose());

  const path = (name: string): string => join(ROOT, fixture.cgroupParent, request.id, name);
  const knob = (name: string): string => readFileSync(path(name), 'utf8').trim();
  const update = ({ imageId: _, adopt: _adopt, ...wanted }: ContainerCreate): Promise<readonly string[]> => {
    ok(fixture.engine.containers.update);
    return fixture.engine.containers.update(wanted);
  };
  const limit = async (limits: ResourceLimits): Promise<readonly string[]> => {
    request = { ...request, limits };
    return update(request);
  };
  const files = (): Record<string, string> => {
    const found = Object.fromEntries(Object.keys(NONE).map((name) => [name, knob(name)]));
    // All that there are is what no set is for a kernel that empties none (6.1).
    const all = readFileSync(join(ROOT, 'cpuset.cpus.effective'), 'utf8').trim();
    const isLifted = found['cpuset.cpus'] === all && request.limits.cpusetCpus === undefined;
    return isLifted ? { ...found, 'cpuset.cpus': '' } : found;
  };

  it('begin with none', () => deepEqual(files(), NONE));

  for (const [title, limits, expected] of CASES) {
    it(title, async () => {
      deepEqual(await limit(limits), ['limits']);
      deepEqual(files(), expected);
      equal(fixture.engine.containers.inspect(request.id)?.pid, pid, 'the same process');
      deepEqual(await limit(limits), []);
    });
  }

  it('share input and output by weight, of single devices where somebody weighs at them', async () => {
    const file = ['io.bfq.weight', 'io.weight'].find((name) => existsSync(path(name)));
    ok(file !== undefined);
    await limit({ blockIo: { weight: 505 } });
    equal(knob(file), file === 'io.weight' ? 'default 5000' : 'default 505');
    const single = { blockIo: { weight: 505, weightDevices: [{ path: DISK, value: 10 }] } };
    const before = request;
    await rejects(limit(single), { code: 'NOT_SUPPORTED', message: /nothing weighs at this device/ });
    request = before;
    equal(knob(file), file === 'io.weight' ? 'default 5000' : 'default 505');
    if (file === 'io.weight') {
      writeFileSync(join(ROOT, 'io.cost.qos'), `${number} enable=1`);
      await limit(single);
      deepEqual(knob(file).split('\n'), ['default 5000', `${number} 1`]);
      await limit({});
      writeFileSync(join(ROOT, 'io.cost.qos'), `${number} enable=0`);
    }
    await limit({});
    equal(knob(file), 'default 100');
  });

  it('are refused below what is used and cannot be taken back, and what was before holds', async () => {
    await limit({ memoryBytes: 256 * MIB, memorySwapBytes: 256 * MIB });
    const session = await fixture.engine.containers.exec(request.id, {
      argv: ['dd', 'if=/dev/zero', 'of=/dev/shm/x', 'bs=1M', 'count=48'],
      ...{ env: [], user: '', workingDir: '', tty: false, stdin: false, privileged: false },
    });
    equal((await session.exit).code, 0);
    session.close();
    await rejects(limit({ memoryBytes: 16 * MIB, memorySwapBytes: 16 * MIB }), /it uses \d+, and the kernel cannot/);
    equal(knob('memory.max'), `${256 * MIB}`);
    await limit({});
  });

  it('that somebody has changed by hand are found and repaired', async () => {
    await limit({ pids: 30, nanoCpus: 500_000_000 });
    writeFileSync(path('pids.max'), '9');
    writeFileSync(path('cpu.max'), 'max 100000');
    const { imageId: _, adopt: _adopt, ...wanted } = request;
    const look = (): Promise<readonly FoundDrift[]> =>
      fixture.engine.containers.checkDrift?.(wanted, { repair: true }) ?? Promise.resolve([]);
    deepEqual(
      (await look()).map(({ field, expected, found, repaired }) => [field, expected, found, repaired]),
      [
        ['pids.max', '30', '9', true],
        ['cpu.max', '50000 100000', 'max 100000', true],
      ],
    );
    deepEqual(await look(), []);
    await limit({});
  });

  it('hold from the moment that they are lowered', async () => {
    const burner = fixture.request(['sh', '-c', 'while :; do :; done']);
    await fixture.up(burner);
    const stat = (): number =>
      Number(
        /^nr_throttled (\d+)$/m.exec(
          readFileSync(join(ROOT, fixture.cgroupParent, burner.id, 'cpu.stat'), 'utf8'),
        )?.[1],
      );
    equal(stat(), 0);
    await update({ ...burner, limits: { nanoCpus: 100_000_000 } });
    await eventually(() => stat() > 3);
    await fixture.engine.containers.remove(burner.id);
  });

  it('are counted: use, and kills for memory', async () => {
    const hog = fixture.request(
      ['tail', '/dev/zero'],
      {},
      { limits: { memoryBytes: 32 * MIB, memorySwapBytes: 32 * MIB } },
    );
    await fixture.up(hog);
    const { code, oomKilled } = await fixture.engine.containers.wait(hog.id);
    deepEqual([code, oomKilled], [137, true]);
    await fixture.engine.containers.remove(hog.id);
  });
});
