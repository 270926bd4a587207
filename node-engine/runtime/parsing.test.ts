import { deepEqual, equal, throws } from 'node:assert/strict';
import type { ContainerId } from '../../base/ids.ts';
import { containerSpec, imageConfig } from '../../test/builders/container-spec.ts';
import { cgroupMounts, cgroupVersion } from './cgroups.ts';
import { launchError } from './launch-errors.ts';
import { parseLogConfig } from './log-options.ts';
import type { ContainerRecord } from './record.ts';
import { planVolumes } from './volume-plan.ts';

describe('log configuration', () => {
  const parse = (driver: string, options: Record<string, string> = {}): ReturnType<typeof parseLogConfig> =>
    parseLogConfig({ driver, options });
  it('knows the drivers', () => {
    deepEqual(parse(''), { maxBytes: 0, maxFiles: 1 });
    deepEqual(parse('json-file', { 'max-size': '10m', 'max-file': '3' }), { maxBytes: 10_000_000, maxFiles: 3 });
    deepEqual(parse('local', { 'max-size': '1.5k' }), { maxBytes: 1500, maxFiles: 5 });
    equal(parse('none'), undefined);
  });
  for (const [title, driver, options, code] of [
    ['another driver', 'syslog', {}, 'NOT_SUPPORTED'],
    ['another option', 'json-file', { tag: 'x' }, 'NOT_SUPPORTED'],
    ['a size that is none', 'json-file', { 'max-size': 'big' }, 'INVALID_INPUT'],
    ['no files', 'json-file', { 'max-size': '1m', 'max-file': '0' }, 'INVALID_INPUT'],
    ['files without a size', 'json-file', { 'max-file': '2' }, 'INVALID_INPUT'],
  ] as const) {
    it(`refuses ${title}`, () => throws(() => parse(driver, options), { code }));
  }
});

describe('failures of the launcher', () => {
  const subject = { action: 'starting', container: 'shop-web-1', image: 'nginx', command: 'foo' };
  for (const [stage, errno, code, message] of [
    [
      'exec',
      'ENOENT',
      'COMMAND_NOT_FOUND',
      /starting container "shop-web-1": exec "foo" of image "nginx": executable file not found in \$PATH/,
    ],
    ['exec', 'EACCES', 'COMMAND_NOT_EXECUTABLE', /permission denied/],
    ['exec', 'ENOEXEC', 'COMMAND_NOT_EXECUTABLE', /exec format error/],
    ['user', 'ENOENT', 'INVALID_INPUT', /what it said/],
    ['mount', 'EPERM', 'MOUNT_FAILED', /what it said/],
    ['cgroup', 'EBUSY', 'RUNTIME_FAILED', /cgroup "\/x": what it said/],
  ] as const) {
    it(`${stage} ${errno} is ${code}`, () => {
      const error = launchError({ stage, errno, path: '/x', message: 'what it said' }, subject);
      equal(error.code, code);
      throws(
        () => {
          throw error;
        },
        { message },
      );
    });
  }
});

describe('volumes of a container', () => {
  const volume = {
    type: 'volume',
    readOnly: false,
    noCopy: false,
    subpath: '',
    driver: '',
    driverOptions: {},
    labels: {},
  } as const;
  const spec = containerSpec({
    mounts: [
      { ...volume, source: 'data', target: '/data' },
      { ...volume, source: '', target: '/scratch/' },
      { type: 'tmpfs', target: '/cache', readOnly: false, sizeBytes: 0, mode: 0 },
    ],
  });
  const image = imageConfig({ volumes: ['/data', '/cache/', '/var/lib/db'] });

  it('adds one for each path of the image that nothing else covers', () => {
    deepEqual(
      planVolumes(spec, image, undefined).map(({ target }) => target),
      ['/data', '/scratch/', '/var/lib/db'],
    );
  });
  it('keeps the anonymous ones of the container whose place it takes', () => {
    const first = planVolumes(spec, image, undefined);
    const adopted = { id: 'a' as ContainerId, spec, volumes: first } as unknown as ContainerRecord;
    deepEqual(planVolumes(spec, image, adopted), first);
    equal(first[0]?.name, 'data');
    equal(first[1]?.name.length, 64);
  });
});

describe('cgroup hierarchies', () => {
  const v1 = '31 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cpu rw,cpu\n';
  const again = '99 25 0:26 / /elsewhere rw - cgroup cpu rw,cpu\n';
  const v2 = '32 25 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:3 - cgroup2 cgroup2 rw\n';
  const part = '33 25 0:28 /docker/x /inside rw - cgroup memory rw,memory\n';
  it('are told from the mount table', () => {
    deepEqual(cgroupMounts(v1 + again + v2 + part), [
      { path: '/sys/fs/cgroup/cpu', version: 1 },
      { path: '/sys/fs/cgroup/unified', version: 2 },
    ]);
    equal(cgroupVersion(cgroupMounts(v1 + v2)), 'hybrid');
    equal(cgroupVersion(cgroupMounts(v1)), 'v1');
    equal(cgroupVersion(cgroupMounts(v2)), 'v2');
  });
});
