import { deepEqual, equal, match, ok, throws } from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LAUNCHER_PROGRAM, killAll, readWarnings, signalContainer } from '../../../node-engine/launcher/index.ts';
import type { DeviceRule } from '../../../node-engine/native/addon.ts';
import { attachDeviceProgram, attachedDeviceProgram, deviceProgramTag } from '../../../node-engine/native/addon.ts';
import { LauncherFixture, cgroupDir, cgroupMounts, eventually } from './fixture.ts';
import type { Container } from './fixture.ts';

const MEMORY = 32 * 1024 * 1024;

describe('the control groups of a container', () => {
  let fixture: LauncherFixture;
  before(() => (fixture = new LauncherFixture()));
  after(() => fixture.dispose());

  const knob = (container: Container, controller: string, v1: string, v2: string): string => {
    const dir = cgroupDir(controller, container.cgroup);
    return readFileSync(join(dir, existsSync(join(dir, v1)) ? v1 : v2), 'utf8').trim();
  };

  it('hold the limits it asks for, the process and nothing else', async () => {
    const container = fixture.container(['sleep', '1000'], {
      linux: {
        resources: {
          memory: { limit: MEMORY, swap: MEMORY, reservation: MEMORY / 2 },
          cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: '0' },
          pids: { limit: 33 },
          devices: [{ allow: false, access: 'rwm' }],
        },
      },
    });
    const { pid } = await container.start();
    equal(knob(container, 'memory', 'memory.limit_in_bytes', 'memory.max'), `${MEMORY}`);
    equal(knob(container, 'memory', 'memory.soft_limit_in_bytes', 'memory.low'), `${MEMORY / 2}`);
    match(knob(container, 'cpu', 'cpu.cfs_quota_us', 'cpu.max'), /^50000/);
    ok(['512', '20'].includes(knob(container, 'cpu', 'cpu.shares', 'cpu.weight')));
    equal(knob(container, 'cpuset', 'cpuset.cpus', 'cpuset.cpus'), '0');
    equal(knob(container, 'pids', 'pids.max', 'pids.max'), '33');
    for (const { path } of cgroupMounts())
      equal(readFileSync(join(path, container.cgroup, 'cgroup.procs'), 'utf8').trim(), `${pid}`, path);
    await killAll(container.runDir);
    await container.ended();
    for (const { path } of cgroupMounts()) ok(!existsSync(join(path, container.cgroup)), path);
  });

  it('warn of a limit that this kernel does not know, and apply the rest', async () => {
    const container = fixture.script('true', {
      linux: { resources: { hugepageLimits: [{ pageSize: '7MB', limit: 7 }], pids: { limit: 9 } } },
    });
    equal((await container.run()).exit.code, 0);
    ok(readWarnings(container.runDir).some((line) => /hugetlb/.test(line)));
  });

  it('say that memory ran out, and only then', async () => {
    const linux = { resources: { memory: { limit: MEMORY, swap: MEMORY } } };
    const whole = await fixture.container(['tail', '/dev/zero'], { linux }).run();
    deepEqual([whole.exit.code, whole.exit.signal, whole.exit.oomKilled], [137, 9, true]);
    const child = await fixture.script('tail /dev/zero; exit 3', { linux }).run();
    deepEqual([child.exit.code, child.exit.oomKilled], [3, true]);
    const none = await fixture.script('kill -KILL $$; exit 0', { linux }).run();
    equal(none.exit.oomKilled, false);
  });

  it('bound the number of processes', async () => {
    const container = fixture.script('for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done', {
      linux: { resources: { pids: { limit: 6 } } },
    });
    const { exit, stderr } = await container.run();
    equal(exit.code, 2);
    match(stderr, /can't fork/);
  });

  // Nodes are made, which is always allowed, and opened: by their numbers, what the rules say. The second is the loop
  // driver's, which anybody may open.
  const probe =
    'mknod /zero c 1 5; head -c 1 /zero | wc -c; mknod /loop c 10 237; (: < /loop) 2>/dev/null && echo open || echo shut';
  const none = [{ allow: false, access: 'rwm' }];
  const loop = [...none, { allow: true, type: 'c', major: 10, minor: 237, access: 'rw' }];
  const all = [...none, { allow: true, access: 'rwm' }];
  const deviceCases = [
    ['use only the devices that all have', none, 'shut'],
    ['use the devices it was given', loop, 'open'],
    ['use every device but those taken away again', [...all, { ...loop[1], allow: false, access: 'r' }], 'shut'],
    ['use every device', all, 'open'],
    ['use every device when it has no rules', [], 'open'],
  ] as const;

  for (const [title, devices, expected] of deviceCases) {
    it(`let it ${title}`, async function () {
      if (!readFileSync('/proc/misc', 'utf8').includes('loop-control')) this.skip();
      equal((await fixture.script(probe, { linux: { resources: { devices } } }).run()).stdout, `1\n${expected}\n`);
    });
  }

  it('are emptied when kill-all is called, also of what fled into sessions and groups of its own', async () => {
    const namespaces = ['mount', 'uts', 'ipc', 'network', 'cgroup'].map((type) => ({ type }));
    const container = fixture.script(
      'for i in 1 2 3; do setsid sh -c "sleep 1000 & sleep 1000" & done; echo up; wait',
      {
        linux: { namespaces },
      },
    );
    await container.start();
    const procs = join(cgroupDir('pids', container.cgroup), 'cgroup.procs');
    await eventually(() => readFileSync(procs, 'utf8').trim().split('\n').length === 7);
    await killAll(container.runDir);
    equal((await container.ended()).code, 137);
    deepEqual(fixture.leftovers(), []);
  });

  it('may hold groups of the container’s own, which go with it', async () => {
    const container = fixture.script(
      'mkdir -p /sys/fs/cgroup/pids/a/b /sys/fs/cgroup/unified/c 2>/dev/null; ls -d /sys/fs/cgroup/*/a/b',
      {
        mounts: [
          { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev'] },
        ],
      },
    );
    await container.run();
    deepEqual(fixture.leftovers(), []);
  });

  describe('where only version 2 is mounted', () => {
    // In a mount namespace of the test's own, without the v1 hierarchies: the launcher sees what is mounted.
    const alone = (container: Container, ...more: string[]): ReturnType<typeof spawnSync> => {
      const unmount = cgroupMounts()
        .filter(({ rest }) => rest.startsWith('cgroup '))
        .map(({ path }) => `umount ${path}`)
        .join(' && ');
      const run = `${LAUNCHER_PROGRAM} run --bundle ${container.bundleDir} --run-dir ${container.runDir} --log ${container.logPath}`;
      return spawnSync(
        'unshare',
        ['-m', '--propagation', 'private', 'sh', '-c', [unmount || 'true', run, ...more].join(' && ')],
        {
          encoding: 'utf8',
        },
      );
    };

    for (const [title, devices, expected] of deviceCases) {
      it(`a program lets it ${title}`, async function () {
        if (!readFileSync('/proc/misc', 'utf8').includes('loop-control')) this.skip();
        const container = fixture.script(probe, { linux: { resources: { devices } } });
        const { status, stdout } = alone(container);
        equal(status, 0, String(stdout));
        await container.ended();
        equal(await container.logged('stdout'), `1\n${expected}\n`);
        deepEqual(fixture.leftovers(), []);
      });
    }

    it('its program is replaced while it runs, in place of the one before', async () => {
      const look = '(: < /loop) 2>/dev/null && echo open || echo shut';
      const container = fixture.script(
        `mknod /loop c 10 237; ${look}; trap '${look}' USR1; while :; do sleep 1000 & wait $!; done`,
      );
      equal(alone(container).status, 0);
      const v2 = cgroupMounts().find(({ rest }) => rest.startsWith('cgroup2 '))?.path ?? '';
      const group = join(v2, container.cgroup);
      const said = async (...lines: readonly string[]): Promise<void> =>
        eventually(async () => (await container.logged('stdout')) === lines.map((line) => `${line}\n`).join(''));
      const change = async (...rules: readonly DeviceRule[]): Promise<void> => {
        attachDeviceProgram(group, rules);
        equal(attachedDeviceProgram(group), deviceProgramTag(rules));
        await signalContainer(container.runDir, 'SIGUSR1');
      };
      const nothing: DeviceRule = { allow: false, type: 'a', major: -1, minor: -1, access: 'rwm' };
      const theLoop: DeviceRule = { allow: true, type: 'c', major: 10, minor: 237, access: 'r' };
      await said('shut');
      // What the launcher loaded, and what would be loaded for the same rules, is the same program.
      equal(attachedDeviceProgram(group), deviceProgramTag([nothing]));
      await change(nothing, theLoop);
      await said('shut', 'open');
      await change(nothing);
      await said('shut', 'open', 'shut');
      // One that was beside it would still forbid.
      await change();
      await said('shut', 'open', 'shut', 'open');
      await killAll(container.runDir);
      await container.ended();
      throws(() => attachedDeviceProgram(group), { code: 'ENOTDIR' });
      equal(attachedDeviceProgram(v2), undefined);
      throws(() => deviceProgramTag([{ ...theLoop, access: 'x' }]), { code: 'EINVAL' });
    });

    it('mounts it in the container, and kills by it', async () => {
      const container = fixture.script(
        'grep cgroup2 /proc/mounts | cut -d" " -f2; cat /proc/self/cgroup | grep ^0; setsid sleep 1000 & wait',
      );
      equal(alone(container).status, 0);
      await eventually(async () => (await container.logged('stdout')).includes('0::'));
      await killAll(container.runDir);
      equal((await container.ended()).code, 137);
      equal(await container.logged('stdout'), '/sys/fs/cgroup\n0::/\n');
    });
  });

  it('that a killed supervisor left are cleared by the next start', async () => {
    const container = fixture.container(['true']);
    for (const { path } of cgroupMounts()) mkdirSync(join(path, container.cgroup, 'inner'), { recursive: true });
    const lost = spawnSync('sh', ['-c', 'sleep 1000 >/dev/null 2>&1 & echo $!'], { encoding: 'utf8' }).stdout.trim();
    for (const { path, rest } of cgroupMounts())
      if (!rest.includes('cpuset')) writeFileSync(join(path, container.cgroup, 'inner/cgroup.procs'), lost);
    equal((await container.run()).exit.code, 0);
    ok(
      !existsSync(`/proc/${lost}`) || execFileSync('cat', [`/proc/${lost}/stat`], { encoding: 'utf8' }).includes(') Z'),
    );
    deepEqual(fixture.leftovers(), []);
  });
});
