import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupMounts } from '../../../node-engine/runtime/cgroups.ts';
import type { ContainerSpec } from '../../../proto/types/index.ts';
import { EngineFixture } from './engine-fixture.ts';

describe('what a container sees and may do', () => {
  const fixture = new EngineFixture();
  before(() => fixture.start());
  after(() => fixture.dispose());

  const cases: readonly [title: string, line: string, spec: Partial<ContainerSpec>, expected: string][] = [
    ['its own processes', 'ls -d /proc/[0-9]* | head -1', {}, '/proc/1\n'],
    ['its own network, with loopback alone', 'ls /sys/class/net; cat /proc/net/route | wc -l', {}, 'lo\n1\n'],
    ['its host name', 'hostname; cat /etc/hostname', { hostname: 'web' }, 'web\nweb\n'],
    ['its domain', 'cat /proc/sys/kernel/domainname', { domainname: 'shop.test' }, 'shop.test\n'],
    [
      'the environment of image, spec and defaults',
      'echo $FROM_IMAGE $MINE $HOSTNAME $HOME $TERM',
      { env: ['MINE=1'], hostname: 'h' },
      'yes 1 h /root\n',
    ],
    [
      'the home of its user',
      'echo $HOME; id',
      { user: 'app' },
      '/srv\nuid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\n',
    ],
    [
      'a user and group without an account',
      'id -u; id -g; id -G',
      { user: '4000:5000', groups: ['extra', '6000'] },
      '4000\n5000\n5000 2000 6000\n',
    ],
    ['its working directory, made if missing', 'pwd', { workingDir: '/made/here' }, '/made/here\n'],
    ["Docker's capabilities", 'grep CapEff /proc/self/status', {}, 'CapEff:\t00000000a80425fb\n'],
    [
      'no capability when all are dropped',
      'grep CapBnd /proc/self/status',
      { capDrop: ['ALL'] },
      'CapBnd:\t0000000000000000\n',
    ],
    [
      'no new privileges',
      'grep NoNewPrivs /proc/self/status',
      { securityOpt: ['no-new-privileges'] },
      'NoNewPrivs:\t1\n',
    ],
    ['a seccomp filter', 'grep Seccomp: /proc/self/status', {}, 'Seccomp:\t2\n'],
    [
      'none when unconfined',
      'grep Seccomp: /proc/self/status',
      { securityOpt: ['seccomp=unconfined'] },
      'Seccomp:\t0\n',
    ],
    [
      'its own sysctls',
      'cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/ip_unprivileged_port_start',
      { sysctls: { 'net.core.somaxconn': '77' } },
      '77\n0\n',
    ],
    ['its ulimits', 'ulimit -Sn; ulimit -Hn', { ulimits: [{ name: 'nofile', soft: 100, hard: 200 }] }, '100\n200\n'],
    ['a shm of its size', "df -k /dev/shm | tail -1 | awk '{print $2}'", { shmBytes: 8 * 2 ** 20 }, '8192\n'],
    [
      'masked and read-only paths',
      'wc -c < /proc/interrupts; echo 1 > /proc/sys/kernel/pid_max || echo refused',
      {},
      '0\nrefused\n',
    ],
    [
      'a root it may not write',
      'touch /x 2>/dev/null || echo refused; touch /tmp/x && echo written',
      { readOnly: true, mounts: [{ type: 'tmpfs', target: '/tmp', readOnly: false, sizeBytes: 0, mode: 0 }] },
      'refused\nwritten\n',
    ],
    ['an init above it', 'cat /proc/1/comm; echo $$', { init: true }, 'docker-init\n2\n'],
    [
      'a device of the node',
      'ls -l /dev/mine | cut -c1; dd if=/dev/mine of=/dev/null bs=1 count=1 2>/dev/null && echo read',
      { devices: [{ source: '/dev/zero', target: '/dev/mine', permissions: 'r' }] },
      'c\nread\n',
    ],
  ];
  for (const [title, line, spec, expected] of cases) {
    it(title, async () => {
      const { stdout, stderr } = await fixture.run(line, spec);
      equal(stdout, expected, stderr);
    });
  }

  it('a terminal when it asks for one', async () => {
    const { stdout } = await fixture.run('test -t 0 && test -t 1 && echo $TERM', { tty: true });
    equal(stdout.trim(), 'xterm');
  });

  it('the names of its networks and extra hosts, and may write them', async () => {
    const { stdout } = await fixture.run('cat /etc/hosts; echo 10.0.0.9 more >> /etc/hosts && tail -1 /etc/hosts', {
      extraHosts: ['db=10.0.0.1'],
      hostname: 'web',
    });
    match(stdout, /^127\.0\.0\.1\tlocalhost$/m);
    match(stdout, /^127\.0\.0\.1\tweb$/m);
    match(stdout, /^10\.0\.0\.1\tdb$/m);
    match(stdout, /10\.0\.0\.9 more\n$/);
  });

  it("the node's network in host mode", async () => {
    const { stdout } = await fixture.run(
      'cat /proc/net/dev | wc -l; cat /etc/resolv.conf',
      {},
      { sandbox: { mode: 'host', interfaces: [] } },
    );
    const lines = readFileSync('/proc/net/dev', 'utf8').trim().split('\n').length;
    equal(stdout, `${lines}\n${readFileSync('/etc/resolv.conf', 'utf8')}`);
  });

  it("the node's processes when it shares them", async () => {
    const { stdout } = await fixture.run(`test -d /proc/${process.pid} && echo seen`, { pidMode: 'host' });
    equal(stdout, 'seen\n');
  });

  it('everything when it is privileged', async () => {
    const { stdout } = await fixture.run(
      'mount -t tmpfs none /mnt && echo mounted; test -e /dev/loop-control && echo devices; touch /proc/sys/kernel/domainname && echo written',
      { privileged: true, mounts: [{ type: 'tmpfs', target: '/mnt', readOnly: false, sizeBytes: 0, mode: 0 }] },
    );
    match(stdout, /^mounted$/m);
    match(stdout, /^written$/m);
  });

  it('a tmpfs of its size and mode', async () => {
    const tmpfs = { type: 'tmpfs', target: '/t', readOnly: false, sizeBytes: 2 ** 20, mode: 0o750 } as const;
    const { stdout } = await fixture.run("df -Pk /t | tail -1 | awk '{print $1, $2}'; stat -c %a /t", {
      mounts: [tmpfs],
    });
    equal(stdout, 'tmpfs 1024\n750\n');
  });

  it('binds, read-only and not', async () => {
    const folder = join(fixture.root, 'bound');
    mkdirSync(folder);
    writeFileSync(join(folder, 'file'), 'from the node\n');
    const bind = { type: 'bind', source: folder, propagation: 'rprivate', createHostPath: false } as const;
    const { stdout } = await fixture.run(
      'cat /ro/file; touch /ro/x 2>/dev/null || echo refused; echo back > /rw/back',
      {
        mounts: [
          { ...bind, target: '/ro', readOnly: true },
          { ...bind, target: '/rw', readOnly: false },
        ],
      },
    );
    equal(stdout, 'from the node\nrefused\n');
    equal(readFileSync(join(folder, 'back'), 'utf8'), 'back\n');
  });

  it('secrets and configs as files that it cannot change, and that are on no disk', async () => {
    const data = Buffer.from('hush');
    const { stdout, stderr } = await fixture.run(
      'cat /run/secrets/key; stat -c " %u %g %a" /run/secrets/key; cat /etc/app.conf; (echo x > /run/secrets/key) 2>/dev/null || echo refused; df -P /run/secrets/key | tail -1 | cut -d" " -f1',
      { user: 'app' },
      {
        secrets: [{ target: '/run/secrets/key', uid: 1000, gid: 2000, mode: 0o440, data }],
        configs: [{ target: '/etc/app.conf', uid: 0, gid: 0, mode: 0o444, data: Buffer.from('key=value\n') }],
      },
    );
    equal(stdout, 'hush 1000 2000 440\nkey=value\nrefused\ntmpfs\n', stderr);
    deepEqual(fixture.leftovers(), []);
  });

  it('limits that are really in its cgroup', async () => {
    const id = await fixture.up(
      fixture.request(
        ['sleep', '1000'],
        {},
        { limits: { memoryBytes: 64 * 2 ** 20, nanoCpus: 5e8, pids: 20, cpuShares: 512 } },
      ),
    );
    const files = new Map<string, string>();
    for (const { path } of cgroupMounts()) {
      for (const name of [
        'memory.limit_in_bytes',
        'memory.max',
        'cpu.cfs_quota_us',
        'cpu.max',
        'pids.max',
        'cpu.shares',
      ]) {
        try {
          files.set(name, readFileSync(join(path, fixture.cgroupParent, id, name), 'utf8').trim());
        } catch {
          // Another hierarchy has it.
        }
      }
    }
    equal(files.get('memory.limit_in_bytes') ?? files.get('memory.max'), String(64 * 2 ** 20));
    match(files.get('cpu.cfs_quota_us') ?? files.get('cpu.max') ?? '', /^50000( 100000)?$/);
    equal(files.get('pids.max'), '20');
    await fixture.engine.containers.remove(id);
    deepEqual(fixture.leftovers(), []);
  });

  it('an end for want of memory, and says so', async () => {
    const result = await fixture.run(
      'tail /dev/zero',
      {},
      { limits: { memoryBytes: 16 * 2 ** 20, memorySwapBytes: 16 * 2 ** 20 } },
    );
    ok(result.oomKilled);
    equal(result.code, 137);
  });
});
