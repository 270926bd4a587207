import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { killAll } from '../../../node-engine/launcher/index.ts';
import { LauncherFixture, eventually } from '../../integration/launcher/fixture.ts';
import type { Container } from '../../integration/launcher/fixture.ts';

const ROOT = '/sys/fs/cgroup';

describe('limits where only version 2 is there', () => {
  let fixture: LauncherFixture;
  before(() => (fixture = new LauncherFixture()));
  after(() => fixture.dispose());

  const knob = (container: Container, name: string): string =>
    readFileSync(join(ROOT, container.cgroup, name), 'utf8').trim();
  const start = async (resources: object): Promise<Container> => {
    const container = fixture.container(['sleep', '1000'], { linux: { resources } });
    await container.start();
    return container;
  };
  const end = async (container: Container): Promise<void> => {
    await killAll(container.runDir);
    await container.ended();
    ok(!existsSync(join(ROOT, container.cgroup)));
  };

  it('is a machine with version 2 alone', () => {
    ok(existsSync(join(ROOT, 'cgroup.controllers')));
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    deepEqual(
      mounts.filter((line) => line.includes(' - cgroup')).map((line) => line.split(' - ')[1]?.split(' ')[0]),
      ['cgroup2'],
    );
  });

  it('holds memory, processor and process limits to the letter', async () => {
    const mib = 1024 * 1024;
    const container = await start({
      memory: { limit: 64 * mib, swap: 96 * mib, reservation: 32 * mib },
      cpu: { shares: 1024, quota: 25_000, period: 50_000, burst: 5_000, cpus: '1', mems: '0' },
      pids: { limit: 21 },
    });
    equal(knob(container, 'memory.max'), `${64 * mib}`);
    equal(knob(container, 'memory.swap.max'), `${32 * mib}`);
    equal(knob(container, 'memory.low'), `${32 * mib}`);
    equal(knob(container, 'cpu.max'), '25000 50000');
    equal(knob(container, 'cpu.max.burst'), '5000');
    equal(knob(container, 'cpu.weight'), '39');
    equal(knob(container, 'cpuset.cpus'), '1');
    equal(knob(container, 'cpuset.cpus.effective'), '1');
    equal(knob(container, 'cpuset.mems'), '0');
    equal(knob(container, 'pids.max'), '21');
    await end(container);
  });

  it('holds the rates of a disk, all four on one line', async () => {
    const device = statSync('/dev/vda').rdev;
    const [major, minor] = [(device >> 8) & 0xfff, device & 0xff];
    const rate = (value: number): object[] => [{ major, minor, rate: value }];
    const container = await start({
      blockIO: {
        throttleReadBpsDevice: rate(1_048_576),
        throttleWriteBpsDevice: rate(2_097_152),
        throttleReadIOPSDevice: rate(300),
        throttleWriteIOPSDevice: rate(400),
      },
    });
    equal(knob(container, 'io.max'), `${major}:${minor} rbps=1048576 wbps=2097152 riops=300 wiops=400`);
    await end(container);
  });

  it('holds the weight of input and output where the kernel has one', async function () {
    const container = await start({ blockIO: { weight: 505 } });
    const [bfq, weight] = ['io.bfq.weight', 'io.weight'].map((name) =>
      existsSync(join(ROOT, container.cgroup, name)) ? knob(container, name) : undefined,
    );
    if (bfq !== undefined) equal(bfq, 'default 505');
    else if (weight !== undefined) equal(weight, 'default 5000');
    await end(container);
    if (bfq === undefined && weight === undefined) this.skip();
  });

  it('throttles a process that wants more than its share', async () => {
    const container = fixture.script('while :; do :; done', { linux: { resources: { cpu: { quota: 10_000 } } } });
    await container.start();
    const throttled = (): number => Number(/^nr_throttled (\d+)$/m.exec(knob(container, 'cpu.stat'))?.[1] ?? 0);
    await eventually(() => throttled() > 3);
    await end(container);
  });

  it('holds a fork bomb', async () => {
    // Each shell starts two more of its kind: without a bound the machine would be gone.
    const container = fixture.script('bomb() { bomb | bomb & }; bomb; sleep 1000', {
      linux: { resources: { pids: { limit: 25 } } },
    });
    await container.start();
    await eventually(() => Number(/^max (\d+)$/m.exec(knob(container, 'pids.events'))?.[1] ?? 0) > 0);
    ok(Number(knob(container, 'pids.current')) <= 25);
    await end(container);
  });

  it('shows the container its own cgroup as the root of all', async () => {
    const container = fixture.script('cat /proc/self/cgroup; cat /sys/fs/cgroup/pids.max; touch /sys/fs/cgroup/x', {
      linux: { resources: { pids: { limit: 17 } } },
    });
    const { stdout, stderr } = await container.run();
    equal(stdout, '0::/\n17\n');
    match(stderr, /Read-only file system/);
  });
});
