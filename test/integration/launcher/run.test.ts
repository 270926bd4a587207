import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readWarnings } from '../../../node-engine/launcher/index.ts';
import type { BundleChanges } from './fixture.ts';
import { CAPABILITIES, LauncherFixture, eventually } from './fixture.ts';

describe('the launcher runs a container', () => {
  let fixture: LauncherFixture;
  before(() => (fixture = new LauncherFixture()));
  after(() => fixture.dispose());

  describe('and tells how it ended', () => {
    for (const [title, script, code, signal] of [
      ['well', 'exit 0', 0, 0],
      ['with a code', 'exit 7', 7, 0],
      ['with the highest code', 'exit 255', 255, 0],
      ['by SIGKILL from outside its namespace', '', 137, 9],
      ['by a signal that it handles', 'trap "exit 3" TERM; kill -TERM $$; sleep 9', 3, 0],
      ['with processes of its own left behind', 'sleep 1000 & sleep 1000 & exit 4', 4, 0],
    ] as const) {
      it(title, async () => {
        const container = fixture.script(script || 'sleep 1000');
        const { pid } = await container.start();
        if (!script) process.kill(pid, 'SIGKILL');
        const exit = await container.ended();
        deepEqual({ code: exit.code, signal: exit.signal, oom: exit.oomKilled }, { code, signal, oom: false });
        deepEqual(fixture.leftovers(), []);
      });
    }
  });

  /** A script, what it prints, and what the bundle has beside the standard. */
  const cases: readonly (readonly [string, string, RegExp | string, BundleChanges?])[] = [
    ['as process 1 of its own namespace', 'echo $$; ls -d /proc/[0-9]* | wc -l', /^1\n[123]\n$/],
    ['with its host name', 'hostname', 'box\n'],
    [
      'with the loopback up and nothing else',
      'ip -o addr | grep -o " inet [^ ]*"; ip -o link | wc -l',
      ' inet 127.0.0.1/8\n1\n',
    ],
    ['in its working directory', 'pwd', '/tmp\n', { process: { cwd: '/tmp' } }],
    ['in a working directory that it makes', 'pwd', '/srv/a/b\n', { process: { cwd: '/srv/a/b' } }],
    [
      'with its environment and HOME beside it',
      'echo $A $HOME',
      '1 2 /root\n',
      { process: { env: ['PATH=/bin', 'A=1 2'] } },
    ],
    ['with HOME as given', 'echo $HOME', '/x\n', { process: { env: ['PATH=/bin', 'HOME=/x'] } }],
    ['with stdin at its end', 'cat; echo end', 'end\n'],
    ['with the usual mask for new files', 'umask', '0022\n'],
    ['with no file open beside its streams', 'ls /proc/self/fd | tr "\\n" " "', '0 1 2 3 '],
    ['in a session of its own', 'cut -d" " -f6 /proc/self/stat', '1\n'],
    [
      'with the standard devices',
      'echo x > /dev/null; head -c 3 /dev/zero | wc -c; stat -c %t:%T /dev/full /dev/tty',
      '3\n1:7\n5:0\n',
    ],
    [
      'with the standard links',
      'for link in fd stdin ptmx; do readlink /dev/$link; done | tr "\\n" " "',
      '/proc/self/fd /proc/self/fd/0 pts/ptmx ',
    ],
    ['with streams it can open again', 'echo a > /dev/stdout; echo b > /proc/self/fd/1', 'a\nb\n'],
    [
      'with streams that another user can open again',
      'echo a > /dev/stdout; id -u',
      'a\n1001\n',
      { process: { user: { uid: 1001, gid: 1002 } } },
    ],
    ['with all of its root writable', 'echo x > /new && cat /new', 'x\n'],
    [
      'with a read-only root',
      'echo x > /new || echo refused; echo y > /dev/shm/y && cat /dev/shm/y',
      'refused\ny\n',
      { root: { readonly: true } },
    ],
    ['with masked files empty and masked folders too', 'wc -c < /proc/timer_list; ls /sys/firmware | wc -l', '0\n0\n'],
    ['with masked paths that it cannot change', 'chmod 777 /proc/timer_list || echo refused', 'refused\n'],
    ['with read-only kernel paths', 'echo 1 > /proc/sys/kernel/sysrq || echo refused', 'refused\n'],
    [
      'with a read-only cgroup tree of its own',
      'mkdir /sys/fs/cgroup/*/x 2>/dev/null && echo made; cut -d: -f3 /proc/self/cgroup | sort -u',
      '/\n',
    ],
    [
      'with the sysctls it asks for',
      'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni',
      '80\n99\n',
      { linux: { sysctl: { 'net.ipv4.ip_unprivileged_port_start': '80', 'kernel.shmmni': '99' } } },
    ],
    [
      'with its resource limits',
      'ulimit -Sn; ulimit -Hn',
      '100\n200\n',
      { process: { rlimits: [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }] } },
    ],
    ['with its OOM score', 'cat /proc/self/oom_score_adj', '500\n', { process: { oomScoreAdj: 500 } }],
    ['with the default OOM score', 'cat /proc/self/oom_score_adj', '0\n'],
    [
      'with no new privileges',
      'grep NoNewPrivs /proc/self/status',
      'NoNewPrivs:\t1\n',
      { process: { noNewPrivileges: true } },
    ],
    [
      'with tmpfs mounts of a size and mode',
      'stat -c %a /t; df -k /t | tail -1 | tr -s " " | cut -d" " -f2',
      '1770\n64\n',
      { mounts: [{ destination: '/t', type: 'tmpfs', source: 'tmpfs', options: ['size=64k', 'mode=1770'] }] },
    ],
    [
      'with devices it asks for',
      'stat -c "%t:%T %a %u" /dev/mine; head -c 2 /dev/mine | wc -c',
      '1:5 640 1001\n2\n',
      {
        linux: { devices: [{ path: '/dev/mine', type: 'c', major: 1, minor: 5, fileMode: 0o640, uid: 1001, gid: 0 }] },
      },
    ],
  ];
  for (const [title, script, expected, changes] of cases) {
    it(title, async () => {
      const { exit, stdout, stderr } = await fixture.script(script, changes).run();
      if (typeof expected === 'string') equal(stdout, expected, stderr);
      else match(stdout, expected, stderr);
      equal(exit.signal, 0);
    });
  }

  it('with no signal blocked or ignored', async () => {
    const container = fixture.container(['grep', '-E', 'Sig(Blk|Ign)', '/proc/self/status']);
    match((await container.run()).stdout, /^SigBlk:\t0+\nSigIgn:\t0+\n$/);
  });

  it('in the pid namespace of the node, and leaves nothing of it when it ends', async () => {
    const namespaces = ['mount', 'uts', 'ipc', 'network', 'cgroup'].map((type) => ({ type }));
    const container = fixture.script('setsid sleep 1000 & echo $!', { linux: { namespaces } });
    const { stdout } = await container.run();
    match(stdout, /^\d+\n$/);
    ok(!existsSync(`/proc/${stdout.trim()}`));
    deepEqual(fixture.leftovers(), []);
  });

  describe('as a user', () => {
    for (const [title, user, annotations, expected] of [
      ['by number', { uid: 5, gid: 6, additionalGids: [7] }, {}, 'uid=5 gid=6 groups=6,7 HOME=/'],
      ['by number that has a name', { uid: 1001, gid: 1002 }, {}, 'uid=1001 gid=1002 groups=1002 HOME=/home/ana'],
      ['by name', { username: 'ana' }, {}, 'uid=1001 gid=1002 groups=29,44,1002 HOME=/home/ana'],
      [
        'by annotation',
        { uid: 0, gid: 0 },
        { 'tsswarm.user': 'ana' },
        'uid=1001 gid=1002 groups=29,44,1002 HOME=/home/ana',
      ],
      ['by name and group', { username: 'ana:wheel' }, {}, 'uid=1001 gid=10 groups=10 HOME=/home/ana'],
      ['by name and number of a group', { username: 'ana:77' }, {}, 'uid=1001 gid=77 groups=77 HOME=/home/ana'],
      ['by a number as name', { username: '1001' }, {}, 'uid=1001 gid=1002 groups=29,44,1002 HOME=/home/ana'],
      ['by an unknown number', { username: '4000:4001' }, {}, 'uid=4000 gid=4001 groups=4001 HOME=/'],
      [
        'with more groups',
        { username: 'ana:wheel' },
        { 'tsswarm.groups': 'video,50' },
        'uid=1001 gid=10 groups=10,44,50 HOME=/home/ana',
      ],
    ] as const) {
      it(title, async () => {
        const script =
          'echo uid=$(id -u) gid=$(id -g) groups=$(id -G | tr " " "\\n" | sort -nu | tr "\\n" , | sed "s/,$//") HOME=$HOME';
        const container = fixture.script(script, { process: { user }, annotations });
        equal((await container.run()).stdout, `${expected}\n`);
      });
    }
  });

  describe('with capabilities', () => {
    const sets = async (changes: BundleChanges): Promise<Record<string, string>> => {
      const container = fixture.script('grep ^Cap /proc/self/status', changes);
      const { stdout } = await container.run();
      return Object.fromEntries([...stdout.matchAll(/Cap(\w+):\t0*([0-9a-f]+)/g)].map(([, set, mask]) => [set, mask]));
    };
    it('that are exactly the default ones', async () =>
      deepEqual(await sets({}), { Inh: '0', Prm: 'a80425fb', Eff: 'a80425fb', Bnd: 'a80425fb', Amb: '0' }));
    it('that a user without rights can gain by set-user-id only', async () =>
      deepEqual(await sets({ process: { user: { uid: 1001, gid: 1002 } } }), {
        ...{ Inh: '0', Prm: '0', Eff: '0', Bnd: 'a80425fb', Amb: '0' },
      }));
    it('that are ambient for a user', async () => {
      const one = ['CAP_NET_BIND_SERVICE'];
      const capabilities = { bounding: one, effective: one, permitted: one, inheritable: one, ambient: one };
      deepEqual(await sets({ process: { user: { uid: 1001, gid: 1002 }, capabilities } }), {
        ...{ Inh: '400', Prm: '400', Eff: '400', Bnd: '400', Amb: '400' },
      });
    });
    it('that are none', async () =>
      deepEqual(await sets({ process: { capabilities: {} } }), { Inh: '0', Prm: '0', Eff: '0', Bnd: '0', Amb: '0' }));
    it('that this machine does not have, with a warning', async () => {
      const missing = (BigInt(`0x${ownCapabilities()}`) & (1n << 24n)) === 0n;
      const all = [...CAPABILITIES, 'CAP_SYS_RESOURCE'];
      const capabilities = { bounding: all, effective: all, permitted: all };
      const container = fixture.script('true', { process: { capabilities } });
      equal((await container.run()).exit.code, 0);
      equal(
        readWarnings(container.runDir).some((line) => line.includes('CAP_SYS_RESOURCE')),
        missing,
      );
    });
  });

  it('with binds, read-only and not, of folders and files', async () => {
    const source = join(fixture.dir, 'source');
    mkdirSync(source);
    writeFileSync(join(source, 'file'), 'inside');
    const bind = (destination: string, from: string, ...options: string[]): Record<string, unknown> => ({
      ...{ destination, type: 'bind', source: from, options: ['rbind', ...options] },
    });
    const container = fixture.script(
      'cat /rw/file /one; echo new > /rw/new; echo x > /ro/x || echo refused; mount | grep " /rx " | grep -c noexec',
      {
        mounts: [
          bind('/rw', source),
          bind('/ro', source, 'ro'),
          bind('/one', join(source, 'file')),
          bind('/rx', source, 'noexec'),
        ],
      },
    );
    equal((await container.run()).stdout, 'insideinsiderefused\n1\n');
    equal(readFileSync(join(source, 'new'), 'utf8'), 'new\n');
    ok(!existsSync(join(source, 'x')));
  });

  it('whose bundle holds sources of its own binds', async () => {
    const container = fixture.script('cat /etc/hosts', {
      mounts: [{ destination: '/etc/hosts', type: 'bind', source: join(fixture.dir, 'c-hosts'), options: ['rbind'] }],
    });
    const path = join(container.bundleDir, 'config.json');
    const hosts = join(container.bundleDir, 'hosts');
    writeFileSync(hosts, '127.0.0.1 me\n');
    writeFileSync(path, readFileSync(path, 'utf8').replace(join(fixture.dir, 'c-hosts'), hosts));
    equal((await container.run()).stdout, '127.0.0.1 me\n');
  });

  it('whose mount points are links, without leaving its root', async () => {
    const outside = join(fixture.dir, 'outside');
    mkdirSync(outside);
    const links = fixture.script('ls -d /real/deep /made; cat /proc/mounts | cut -d" " -f2 | grep -E "real|made"', {
      mounts: [
        { destination: '/absolute/deep', type: 'tmpfs', source: 'tmpfs', options: [] },
        { destination: '/escape', type: 'tmpfs', source: 'tmpfs', options: [] },
      ],
    });
    mkdirSync(join(links.upperDir, 'real'));
    symlinkSync('/real', join(links.upperDir, 'absolute'));
    symlinkSync('../../../../../../../../../../made', join(links.upperDir, 'escape'));
    equal((await links.run()).stdout, '/made\n/real/deep\n/real/deep\n/made\n');
    ok(!existsSync('/made') && !existsSync('/real'));
  });

  it('from many layers, more than one page of options names', async () => {
    const layers = Array.from({ length: 60 }, (_, index) =>
      join(fixture.dir, 'layers', `${index}`.padEnd(64, 'x'), 'fs'),
    );
    layers.forEach((layer, index) => {
      mkdirSync(layer, { recursive: true });
      writeFileSync(join(layer, `file-${index}`), '');
    });
    const container = fixture.script('ls / | grep -c file-');
    const { bundleDir, upperDir } = container;
    const path = join(bundleDir, 'config.json');
    const config = JSON.parse(readFileSync(path, 'utf8')) as { annotations: Record<string, string> };
    const overlay = { lower: [...layers, fixture.rootfs], upper: upperDir, work: join(upperDir, '../work') };
    config.annotations['tsswarm.overlay'] = JSON.stringify(overlay);
    writeFileSync(path, JSON.stringify(config));
    equal((await container.run()).stdout, '60\n');
  });

  it('on a plain root without an overlay', async () => {
    const container = fixture.script('ls /bin/busybox; grep -c " / / " /proc/self/mountinfo');
    const path = join(container.bundleDir, 'config.json');
    const config = JSON.parse(readFileSync(path, 'utf8')) as { annotations: object; root: { path: string } };
    config.annotations = {};
    config.root.path = fixture.rootfs;
    writeFileSync(path, JSON.stringify(config));
    match((await container.run()).stdout, /^\/bin\/busybox\n/);
  });

  it('without pivot_root where a machine cannot do that', async () => {
    const container = fixture.script('ls /bin/busybox; cd ..; pwd; ls -d /var/tmp 2>/dev/null || echo inside');
    const { bundleDir, runDir, logPath } = container;
    const args = ['run', '--bundle', bundleDir, '--run-dir', runDir, '--log', logPath, '--no-pivot'];
    execFileSync(launcherPath(), args);
    await container.ended();
    equal(await container.logged('stdout'), '/bin/busybox\n/\ninside\n');
  });

  it('with the launcher itself as init, which reaps and passes signals on', async () => {
    const init = { destination: '/sbin/init', type: 'bind', source: launcherPath(), options: ['rbind', 'ro'] };
    const script = '(sleep 0.01 &) ; trap "exit 9" TERM; echo up; while :; do sleep 0.05; done';
    const container = fixture.container(['/sbin/init', 'init', '--', '/bin/sh', '-c', script], { mounts: [init] });
    const { pid } = await container.start();
    await eventually(async () => (await container.logged('stdout')).includes('up'));
    process.kill(pid, 'SIGTERM');
    equal((await container.ended()).code, 9);
  });

  it('with a copy of the launcher as init when it could make the node’s own file writable', async () => {
    const init = { destination: '/sbin/init', type: 'bind', source: launcherPath(), options: ['rbind', 'ro'] };
    const all = [...CAPABILITIES, 'CAP_SYS_ADMIN'];
    const inodes = await Promise.all(
      [CAPABILITIES, all].map(async (set) => {
        const capabilities = { bounding: set, effective: set, permitted: set };
        const command = ['/sbin/init', 'init', '--', 'stat', '-c', '%i %s', '/sbin/init'];
        return (await fixture.container(command, { mounts: [init], process: { capabilities } }).run()).stdout.trim();
      }),
    );
    const { ino, size } = statSync(launcherPath());
    equal(inodes[0], `${ino} ${size}`);
    match(inodes[1] ?? '', new RegExp(`^(?!${ino} )\\d+ ${size}$`));
  });

  it('never gives the host’s null device away', () => {
    const { uid, gid, mode } = statSync('/dev/null');
    deepEqual({ uid, gid, mode: mode & 0o777 }, { uid: 0, gid: 0, mode: 0o666 });
  });
});

function ownCapabilities(): string {
  return /CapPrm:\t([0-9a-f]+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
}

function launcherPath(): string {
  return join(import.meta.dirname, '../../../node-engine/native/build/tsrun');
}
