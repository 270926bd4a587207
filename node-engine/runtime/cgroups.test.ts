import { deepEqual, equal } from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../base/clock.ts';
import { cgroupMounts, cgroupVersion, listCgroups, ownProcsFile, removeEmptyParent } from './cgroups.ts';

/** Mount tables as machines have them: systemd's three modes, and a container host without systemd. */
const TABLES = {
  v2: `24 31 0:22 / /proc rw,nosuid - proc proc rw
29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
30 23 0:27 / /sys/fs/pstore rw - pstore pstore rw`,
  v1: `30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd
32 30 0:28 / /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct`,
  hybrid: `30 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw shared:10 - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory`,
} as const;

describe('control groups on disk', () => {
  const root = mkdtempSync(join(tmpdir(), 'tsswarm-cgroups-'));
  after(() => rmSync(root, { recursive: true, force: true }));

  for (const [version, table] of Object.entries(TABLES)) {
    it(`are told to be ${version} by the mount table`, () => equal(cgroupVersion(cgroupMounts(table)), version));
  }

  it('are all found where they are mounted, in the order of the table', () => {
    deepEqual(
      cgroupMounts(TABLES.hybrid).map(({ path, version }) => `${path} ${version}`),
      ['/sys/fs/cgroup/unified 2', '/sys/fs/cgroup/systemd 1', '/sys/fs/cgroup/memory 1'],
    );
    deepEqual(cgroupMounts(TABLES.v2), [{ path: '/sys/fs/cgroup', version: 2 }]);
  });

  it('say where a process moves itself to where it is: in version 1 with the controller "pids" only', () => {
    const table = `${TABLES.v1}\n34 30 0:30 / /sys/fs/cgroup/pids rw shared:12 - cgroup cgroup rw,pids`;
    const self = '3:cpu,cpuacct:/\n2:pids:/system.slice/a:b.service\n1:name=systemd:/\n0::/\n';
    equal(ownProcsFile(cgroupMounts(table), self), '/sys/fs/cgroup/pids/system.slice/a:b.service/cgroup.procs');
    equal(ownProcsFile(cgroupMounts(TABLES.v1), self), undefined);
    equal(ownProcsFile(cgroupMounts(TABLES.v2), '0::/system.slice\n'), undefined);
  });

  const tree = (name: string, ...folders: readonly string[]): string => {
    for (const folder of folders) mkdirSync(join(root, name, folder), { recursive: true });
    return join(root, name);
  };
  const id = 'a'.repeat(64);

  it('of containers are listed once, whatever hierarchy has them, and the supervisors’ is none', () => {
    const one = tree('one', `parent/${id}`, 'parent/supervisors');
    const two = tree('two', `parent/${id}`, `parent/${'b'.repeat(64)}/inner`);
    const mounts = [one, two, tree('three')].map((path) => ({ path, version: 1 as const }));
    deepEqual(listCgroups(mounts, 'parent'), [id, 'b'.repeat(64)]);
  });

  it('of the node go when they are empty: in version 2 the supervisors’ too', async () => {
    const unified = tree('unified', 'parent/supervisors');
    const bare = tree('bare', 'parent');
    const mounts = [unified, bare, tree('absent')].map((path) => ({ path, version: 2 as const }));
    await removeEmptyParent(mounts, 'parent', systemClock);
    deepEqual(
      [unified, bare].map((path) => existsSync(join(path, 'parent'))),
      [false, false],
    );
  });

  it('of the node stay when somebody is in them', async () => {
    const used = tree('used', 'parent/supervisors', 'parent/other');
    await removeEmptyParent([{ path: used, version: 2 }], 'parent', systemClock);
    equal(existsSync(join(used, 'parent/other')), true);
  });
});
