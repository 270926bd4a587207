import { deepEqual, equal, match, ok, throws } from 'node:assert/strict';
import type { ContainerId } from '../../base/ids.ts';
import type { ContainerSpec, ResourceLimits } from '../../proto/types/index.ts';
import { containerSpec, imageConfig } from '../../test/builders/container-spec.ts';
import { DEFAULT_CAPABILITIES } from './capabilities.ts';
import { MASKED_PATHS } from './mounts.ts';
import type { SpecInput } from './spec.ts';
import { generateSpec, INIT_PATH, printJson, resolveHostname } from './spec.ts';

const id = 'a'.repeat(64) as ContainerId;

function input(over: Partial<ContainerSpec> = {}, rest: Partial<SpecInput> = {}): SpecInput {
  return {
    id,
    spec: containerSpec({ command: { args: ['true'] }, ...over }),
    image: imageConfig(),
    limits: {},
    hostname: 'web',
    networkNamespace: '/run/netns/x',
    overlay: { lower: ['/l2', '/l1'], upper: '/u', work: '/w' },
    cgroupsPath: `/tsswarm/${id}`,
    binds: [],
    devices: [],
    launcherPath: '/opt/tsrun',
    ...rest,
  };
}
const namespaceTypes = (over: Partial<ContainerSpec>, networkNamespace = '/run/netns/x'): string[] =>
  generateSpec(input(over, { networkNamespace })).linux.namespaces.map(({ type }) => type);

describe('OCI configuration', () => {
  it('gives a plain container the defaults of Docker', () => {
    const spec = generateSpec(input());
    deepEqual(spec.process.args, ['true']);
    deepEqual(spec.process.capabilities.bounding.toSorted(), DEFAULT_CAPABILITIES.toSorted());
    deepEqual(spec.process.capabilities.ambient, []);
    equal(spec.process.cwd, '/');
    equal(spec.process.noNewPrivileges, false);
    equal(spec.root.readonly, false);
    deepEqual(spec.linux.maskedPaths, MASKED_PATHS);
    deepEqual(spec.linux.namespaces, [
      { type: 'mount' },
      { type: 'uts' },
      { type: 'cgroup' },
      { type: 'pid' },
      { type: 'ipc' },
      { type: 'network', path: '/run/netns/x' },
    ]);
    deepEqual(JSON.parse(spec.annotations['tsswarm.overlay'] ?? ''), {
      lower: ['/l2', '/l1'],
      upper: '/u',
      work: '/w',
    });
    equal(spec.linux.sysctl['net.ipv4.ip_unprivileged_port_start'], '0');
    equal(spec.linux.resources.memory, undefined);
    deepEqual(spec.linux.resources.devices[0], { allow: false, access: 'rwm' });
  });

  it('leaves out the namespaces that are shared with the node', () => {
    deepEqual(namespaceTypes({ pidMode: 'host', ipcMode: 'host' }, ''), ['mount', 'uts', 'cgroup']);
    throws(() => namespaceTypes({ pidMode: 'container:x' }), { code: 'NOT_SUPPORTED' });
  });

  it('lifts the restrictions of a privileged container', () => {
    const spec = generateSpec(input({ privileged: true }));
    ok(spec.process.capabilities.effective.includes('CAP_SYS_ADMIN'));
    deepEqual(spec.linux.maskedPaths, []);
    deepEqual(spec.linux.resources.devices, [{ allow: true, access: 'rwm' }]);
    ok(spec.mounts.find(({ destination }) => destination === '/sys')?.options.includes('rw'));
  });

  it('runs the command beneath the init', () => {
    const spec = generateSpec(input({ init: true }));
    deepEqual(spec.process.args, [INIT_PATH, 'init', '--', 'true']);
    equal(spec.mounts.find(({ destination }) => destination === INIT_PATH)?.source, '/opt/tsrun');
  });

  it('takes user and groups by name, the image its user when the spec has none', () => {
    const image = imageConfig({ user: 'nginx' });
    equal(generateSpec(input({}, { image })).process.user.username, 'nginx');
    const { user } = generateSpec(input({ user: '1000:audio', groups: ['video', '20'] }, { image })).process;
    equal(user.username, '1000:audio');
    deepEqual(user.additionalGroups, ['video', '20']);
    equal(generateSpec(input()).process.user.username, '0');
  });

  it('prints an unlimited rlimit exactly', () => {
    const spec = generateSpec(input({ ulimits: [{ name: 'core', soft: -1, hard: -1 }] }));
    match(printJson(spec), /"type":"RLIMIT_CORE","soft":18446744073709551615,"hard":18446744073709551615/);
  });
});

describe('capabilities', () => {
  const cases: readonly [string, Partial<ContainerSpec>, (granted: readonly string[]) => boolean][] = [
    ['adds one without its prefix', { capAdd: ['net_admin'] }, (g) => g.includes('CAP_NET_ADMIN') && g.length === 15],
    ['drops one', { capDrop: ['CAP_MKNOD'] }, (g) => !g.includes('CAP_MKNOD') && g.length === 13],
    ['drops all', { capDrop: ['ALL'] }, (g) => g.length === 0],
    ['drops all but the added', { capDrop: ['all'], capAdd: ['CHOWN'] }, (g) => g.join() === 'CAP_CHOWN'],
    ['adds all but the dropped', { capAdd: ['ALL'], capDrop: ['SYS_ADMIN'] }, (g) => g.length === 40],
  ];
  for (const [title, over, holds] of cases) {
    it(title, () => ok(holds(generateSpec(input(over)).process.capabilities.bounding)));
  }
});

describe('resource limits', () => {
  const cases: readonly [string, ResourceLimits, object][] = [
    ['half a CPU', { nanoCpus: 5e8 }, { cpu: { quota: 50_000, period: 100_000 } }],
    ['a quota the kernel would refuse', { nanoCpus: 1e6 }, { cpu: { quota: 1_000, period: 100_000 } }],
    ['memory with swap of the same size', { memoryBytes: 2 ** 26 }, { memory: { limit: 2 ** 26, swap: 2 ** 27 } }],
    ['unlimited swap', { memoryBytes: 2 ** 26, memorySwapBytes: -1 }, { memory: { limit: 2 ** 26, swap: -1 } }],
    [
      'pids, shares and cpuset',
      { pids: 10, cpuShares: 512, cpusetCpus: '0-1' },
      { pids: { limit: 10 }, cpu: { shares: 512, cpus: '0-1' } },
    ],
  ];
  for (const [title, limits, expected] of cases) {
    it(`sets ${title}`, () => {
      const { devices: _, ...resources } = generateSpec(input({}, { limits })).linux.resources;
      deepEqual(resources, expected);
    });
  }
});

describe('mounts', () => {
  const destinations = (over: Partial<ContainerSpec>, targets: readonly string[] = []): string[] =>
    generateSpec(
      input(over, {
        binds: targets.map((target) => ({ source: '/src', target, readOnly: false, propagation: '', options: [] })),
      }),
    ).mounts.map(({ destination }) => destination);

  it('makes parents before children, whatever the order they were written in', () => {
    deepEqual(destinations({}, ['/data/a/b', '/x', '/data/']).slice(-3), ['/data', '/x', '/data/a/b']);
  });
  it('lets a mount of the user replace a default one', () => {
    equal(destinations({}, ['/dev/shm']).filter((path) => path === '/dev/shm').length, 1);
    deepEqual(
      destinations({}, ['/dev']).filter((path) => path.startsWith('/dev')),
      ['/dev'],
    );
  });
  it('takes size and mode of a tmpfs', () => {
    const tmpfs = { type: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 4096, mode: 0o700 } as const;
    const { mounts } = generateSpec(input({ mounts: [tmpfs] }));
    deepEqual(mounts.at(-1)?.options, ['nosuid', 'nodev', 'noexec', 'rw', 'size=4096', 'mode=700']);
  });
  it('refuses two mounts of one target, and the root as target', () => {
    throws(() => destinations({}, ['/a', '/a/']), { code: 'INVALID_INPUT', message: /two mounts/ });
    throws(() => destinations({}, ['/a/..']), { code: 'INVALID_INPUT' });
  });
});

describe('what is refused', () => {
  const cases: readonly [string, Partial<ContainerSpec>, Partial<SpecInput>, RegExp][] = [
    ['an unknown capability', { capAdd: ['FLY'] }, {}, /cap_add "FLY": no such capability/],
    [
      'a sysctl of the whole node',
      { sysctls: { 'vm.swappiness': '1' } },
      {},
      /"vm.swappiness": it belongs to the whole node/,
    ],
    [
      'a network sysctl on the host network',
      { sysctls: { 'net.core.somaxconn': '1' } },
      { networkNamespace: '' },
      /shares the node's network/,
    ],
    ['an ipc sysctl on the host ipc', { sysctls: { 'kernel.sem': '1' }, ipcMode: 'host' }, {}, /shares the node's ipc/],
    ['an unknown ulimit', { ulimits: [{ name: 'luck', soft: 1, hard: 1 }] }, {}, /ulimit "luck": no such limit/],
    ['soft above hard', { ulimits: [{ name: 'nofile', soft: 2, hard: 1 }] }, {}, /soft 2 is above hard 1/],
    ['an AppArmor profile', { securityOpt: ['apparmor=mine'] }, {}, /loads no such profile/],
    ['an unknown security option', { securityOpt: ['magic'] }, {}, /unknown option/],
    ['too little memory', {}, { limits: { memoryBytes: 4096 } }, /at least 6 MiB/],
    ['no command at all', {}, { spec: containerSpec() }, /has no command/],
    ['an impossible oom score', { oomScoreAdj: 2000 }, {}, /-1000 to 1000/],
    ['a relative working directory', { workingDir: 'app' }, {}, /expected an absolute path/],
  ];
  for (const [title, over, rest, message] of cases) {
    it(title, () => throws(() => generateSpec(input(over, rest)), { name: 'TsswarmError', message }));
  }
  it('a malformed host name', () => {
    throws(() => resolveHostname(containerSpec({ hostname: 'a b' }), id, 'node', false), { code: 'INVALID_INPUT' });
    equal(resolveHostname(containerSpec(), id, 'node', false), 'aaaaaaaaaaaa');
    equal(resolveHostname(containerSpec(), id, 'node', true), 'node');
  });
});
