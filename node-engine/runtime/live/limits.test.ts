import { deepEqual, equal, throws } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ResourceLimits } from '../../../proto/types/index.ts';
import type { ControlFiles } from './limits.ts';
import { controlFiles, limitChanges, setLimits } from './limits.ts';

/** Files of a group as the kernel has them after a start without limits. */
const V2: Readonly<Record<string, string>> = {
  'pids.max': 'max\n',
  'cpu.weight': '100\n',
  'cpu.max': 'max 100000\n',
  'cpuset.cpus': '\n',
  'cpuset.cpus.effective': '0-3\n',
  'memory.max': 'max\n',
  'memory.swap.max': 'max\n',
  'memory.current': '1000000\n',
  'memory.reclaim': '',
  'io.max': '',
  'io.weight': 'default 100\n',
};
const V1: readonly Readonly<Record<string, string>>[] = [
  {
    'memory.limit_in_bytes': '9223372036854771712\n',
    'memory.memsw.limit_in_bytes': '9223372036854771712\n',
    'memory.usage_in_bytes': '1000\n',
  },
  { 'cpu.shares': '1024\n', 'cpu.cfs_quota_us': '-1\n' },
  { 'cpuset.cpus': '0-3\n', 'cpuset.cpu_exclusive': '0\n' },
  {
    'blkio.throttle.read_bps_device': '',
    'blkio.throttle.write_bps_device': '',
    'blkio.throttle.read_iops_device': '',
    'blkio.throttle.write_iops_device': '',
  },
  { 'pids.max': 'max\n' },
];

describe('limits of a running container', () => {
  const root = mkdtempSync(join(tmpdir(), 'drift-limits-'));
  let count = 0;
  after(() => rmSync(root, { recursive: true }));
  const group = (...hierarchies: readonly Readonly<Record<string, string>>[]) => {
    const folders = hierarchies.map((files) => {
      const folder = join(root, String(count++), 'group');
      mkdirSync(folder, { recursive: true });
      for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
      if (files['cpuset.cpus'] !== undefined) writeFileSync(join(folder, '..', 'cpuset.cpus'), '0-3\n');
      return folder;
    });
    const files = controlFiles(folders);
    const told = (limits: ResourceLimits): readonly string[] =>
      limitChanges(files, limits).map(({ file, text }) => `${file.split(' ')[0]}: ${text}`);
    return { files, told, folders };
  };
  // What it is does not matter, nothing is read of it: the first loop device, whether the machine has one or not.
  const disk = join(root, 'disk');
  before(() => execFileSync('mknod', [disk, 'b', '7', '0']));
  const numbers = (path: string): string => {
    const { rdev } = statSync(path);
    return `${(rdev >>> 8) & 0xfff}:${(rdev & 0xff) | ((rdev >>> 12) & 0xfff00)}`;
  };

  it('of version 2 are written to its files, in its words', () => {
    const { told } = group(V2);
    deepEqual(
      told({
        pids: 40,
        nanoCpus: 5e8,
        cpuShares: 512,
        cpusetCpus: '0,1',
        memoryBytes: 64 << 20,
        memorySwapBytes: 96 << 20,
      }),
      [
        'pids.max: 40',
        'cpu.weight: 20',
        'cpu.max: 50000 100000',
        'cpuset.cpus: 0,1',
        `memory.max: ${64 << 20}`,
        `memory.swap.max: ${32 << 20}`,
      ],
    );
  });
  it('of version 1 are written to its files, memory and swap together first where they grow', () => {
    deepEqual(group(...V1).told({ pids: 40, nanoCpus: 5e8, memoryBytes: 64 << 20 }), [
      'pids.max: 40',
      'cpu.cfs_quota_us: 50000',
      `memory.limit_in_bytes: ${64 << 20}`,
      `memory.memsw.limit_in_bytes: ${128 << 20}`,
    ]);
  });
  it('that nobody asked for differ in nothing from a start without limits', () => {
    deepEqual(group(V2).told({}), []);
    deepEqual(group(...V1).told({}), []);
  });
  it('are the same in the words of the kernel: whole pages, sorted sets', () => {
    const { told } = group({
      ...V2,
      'memory.max': '67104768\n',
      'memory.swap.max': '67108864\n',
      'cpuset.cpus': '0-1,3\n',
    });
    deepEqual(told({ memoryBytes: 67_108_864 - 100, memorySwapBytes: 134_217_728 - 100, cpusetCpus: '3,0,1' }), []);
    equal(told({ memoryBytes: 60 << 20, cpusetCpus: '0-1,3' }).length, 2);
  });
  it('of a set of CPUs are lifted in version 2, also where the kernel takes no empty set from a group with processes', () => {
    const { files, told, folders } = group({ ...V2, 'cpuset.cpus': '1\n' });
    writeFileSync(join(folders[0] ?? '', '..', 'cpuset.cpus.effective'), '0-3\n');
    deepEqual(told({}), ['cpuset.cpus: \n']);
    const refusing: ControlFiles = {
      ...files,
      write: (file, value) => {
        if (value === '\n') throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' });
        writeFileSync(join(folders[0] ?? '', file), value);
      },
    };
    setLimits(refusing, {}, 'web');
    equal(readFileSync(join(folders[0] ?? '', 'cpuset.cpus'), 'utf8'), '0-3');
    deepEqual(told({}), [], 'it is not found to be changed by hand');
    equal(told({ cpusetCpus: '0-2' }).length, 1);
  });
  it('of memory below what is used are refused in version 2 when the kernel cannot take it back', () => {
    const { files, folders } = group({ ...V2, 'memory.current': `${32 << 20}\n` });
    throws(() => setLimits(files, { memoryBytes: 16 << 20 }, 'web'), /the kernel cannot take it back/);
    equal(readFileSync(join(folders[0] ?? '', 'memory.max'), 'utf8'), 'max\n');
    equal(readFileSync(join(folders[0] ?? '', 'memory.reclaim'), 'utf8'), String(16 << 20));
  });

  it('at block devices are lines of the files of either version, lifted by what each takes for that', () => {
    const blockIo = { readBps: [{ path: disk, value: 1 << 20 }], writeIops: [{ path: disk, value: 30 }] };
    const number = numbers(disk);
    deepEqual(group(...V1).told({ blockIo }), [
      `blkio.throttle.read_bps_device: ${number} 1048576`,
      `blkio.throttle.write_iops_device: ${number} 30`,
    ]);
    deepEqual(group(V2).told({ blockIo }), [`io.max: ${number} rbps=1048576 wbps=max riops=max wiops=30`]);
    const limited = { ...V2, 'io.max': `${number} rbps=1048576 wbps=max riops=max wiops=30\n` };
    deepEqual(group(limited).told({ blockIo }), []);
    deepEqual(group(limited).told({}), [`io.max: ${number} rbps=max wbps=max riops=max wiops=max`]);
    const old = V1.map((files) =>
      'blkio.throttle.read_bps_device' in files
        ? { ...files, 'blkio.throttle.read_bps_device': `${number} 7\n` }
        : files,
    );
    deepEqual(group(...old).told({}), [`blkio.throttle.read_bps_device: ${number} 0`]);
  });
  it('weigh block I/O on the scale of the file that the kernel has, and are refused where it has none', () => {
    deepEqual(group(V2).told({ blockIo: { weight: 1000 } }), ['io.weight: 10000']);
    deepEqual(group({ ...V2, 'io.bfq.weight': 'default 100\n' }).told({ blockIo: { weight: 300 } }), [
      'io.bfq.weight: 300',
    ]);
    throws(() => group(...V1).told({ blockIo: { weight: 300 } }), { code: 'NOT_SUPPORTED' });
    throws(
      () => group(V2).told({ blockIo: { readBps: [{ path: '/dev/null', value: 1 }] } }),
      /expected a block device/,
    );
  });
});
