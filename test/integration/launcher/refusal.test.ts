import { deepEqual, equal, match, rejects } from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TsswarmError } from '../../../base/errors.ts';
import { LAUNCHER_PROGRAM, readExit, readState, startBundle } from '../../../node-engine/launcher/index.ts';
import type { BundleChanges } from './fixture.ts';
import { LauncherFixture } from './fixture.ts';

describe('the launcher refuses, with stage and cause, and leaves nothing behind', () => {
  let fixture: LauncherFixture;
  before(() => (fixture = new LauncherFixture()));
  after(() => fixture.dispose());

  const namespaces = (...types: string[]): BundleChanges => ({
    linux: { namespaces: types.map((type) => ({ type })) },
  });
  /** argv, what the bundle has beside the standard, the stage, the errno, the code, a part of the message. */
  const cases: readonly (readonly [string, readonly string[], BundleChanges, string, string, string, RegExp])[] = [
    [
      'a command that is nowhere',
      ['nope'],
      {},
      'exec',
      'ENOENT',
      'COMMAND_NOT_FOUND',
      /"nope": executable file not found in \$PATH/,
    ],
    [
      'a path that does not exist',
      ['/bin/nope'],
      {},
      'exec',
      'ENOENT',
      'COMMAND_NOT_FOUND',
      /"\/bin\/nope": No such file/,
    ],
    ['an empty command', [''], {}, 'exec', 'ENOENT', 'COMMAND_NOT_FOUND', /""/],
    ['a folder', ['/etc'], {}, 'exec', 'EACCES', 'COMMAND_NOT_EXECUTABLE', /"\/etc": Permission denied/],
    [
      'a file without the right to execute',
      ['/etc/passwd'],
      {},
      'exec',
      'EACCES',
      'COMMAND_NOT_EXECUTABLE',
      /Permission denied/,
    ],
    [
      'a program for another machine',
      ['/bin/alien'],
      {},
      'exec',
      'ENOEXEC',
      'COMMAND_NOT_EXECUTABLE',
      /Exec format error/,
    ],
    [
      'a script whose interpreter is missing',
      ['/bin/script'],
      {},
      'exec',
      'ENOENT',
      'COMMAND_NOT_FOUND',
      /interpreter that it names is not/,
    ],
    [
      'an unknown user',
      ['true'],
      { process: { user: { username: 'eve' } } },
      'user',
      'ENOENT',
      'RUNTIME_FAILED',
      /no such user/,
    ],
    [
      'an unknown group',
      ['true'],
      { process: { user: { username: 'ana:eve' } } },
      'user',
      'ENOENT',
      'RUNTIME_FAILED',
      /no such group/,
    ],
    [
      'a working directory that is a file',
      ['true'],
      { process: { cwd: '/etc/passwd' } },
      'cwd',
      'ENOTDIR',
      'RUNTIME_FAILED',
      /etc\/passwd/,
    ],
    [
      'a relative working directory',
      ['true'],
      { process: { cwd: 'tmp' } },
      'cwd',
      'EINVAL',
      'RUNTIME_FAILED',
      /not an absolute path/,
    ],
    [
      'a working directory outside of the root',
      ['true'],
      { process: { cwd: '/proc/self/fd/3' } },
      'cwd',
      '',
      'RUNTIME_FAILED',
      /proc\/self\/fd/,
    ],
    [
      'a bind of what does not exist',
      ['true'],
      { mounts: [{ destination: '/x', type: 'bind', source: '/no/such', options: ['rbind'] }] },
      'mount',
      'ENOENT',
      'MOUNT_FAILED',
      /"\/no\/such" on "\/x"/,
    ],
    [
      'a bind of a file on a folder',
      ['true'],
      { mounts: [{ destination: '/tmp', type: 'bind', source: '/etc/hostname', options: ['rbind'] }] },
      'mount',
      'EISDIR',
      'MOUNT_FAILED',
      /source is a file, the target in the image is a directory/,
    ],
    [
      'an unknown mount option',
      ['true'],
      { mounts: [{ destination: '/x', type: 'tmpfs', source: 'x', options: ['sizze=1'] }] },
      'mount',
      'EINVAL',
      'MOUNT_FAILED',
      /"sizze=1"/,
    ],
    [
      'a mount option that is not supported',
      ['true'],
      { mounts: [{ destination: '/x', type: 'tmpfs', source: 'x', options: ['tmpcopyup'] }] },
      'mount',
      'EINVAL',
      'MOUNT_FAILED',
      /not supported/,
    ],
    [
      'an unknown file system',
      ['true'],
      { mounts: [{ destination: '/x', type: 'nofs', source: 'x', options: [] }] },
      'mount',
      'ENODEV',
      'MOUNT_FAILED',
      /"nofs"/,
    ],
    [
      'a sysctl of the whole machine',
      ['true'],
      { linux: { sysctl: { 'kernel.panic': '1' } } },
      'sysctl',
      'EPERM',
      'RUNTIME_FAILED',
      /belongs to the host/,
    ],
    [
      'a sysctl that climbs out',
      ['true'],
      { linux: { sysctl: { 'net/../kernel/panic': '1' } } },
      'sysctl',
      'EPERM',
      'RUNTIME_FAILED',
      /belongs to the host/,
    ],
    [
      'a sysctl that does not exist',
      ['true'],
      { linux: { sysctl: { 'net.nope': '1' } } },
      'sysctl',
      'ENOENT',
      'RUNTIME_FAILED',
      /net\.nope/,
    ],
    [
      'an unknown limit',
      ['true'],
      { process: { rlimits: [{ type: 'RLIMIT_X', soft: 1, hard: 1 }] } },
      'rlimit',
      'EINVAL',
      'RUNTIME_FAILED',
      /RLIMIT_X/,
    ],
    [
      'an unknown capability',
      ['true'],
      { process: { capabilities: { bounding: ['CAP_X'] } } },
      'capabilities',
      'EINVAL',
      'RUNTIME_FAILED',
      /CAP_X/,
    ],
    [
      'a user namespace',
      ['true'],
      namespaces('mount', 'user'),
      'namespace',
      'EINVAL',
      'RUNTIME_FAILED',
      /"user" is not supported/,
    ],
    [
      'the node’s mounts',
      ['true'],
      namespaces('pid'),
      'namespace',
      'EINVAL',
      'RUNTIME_FAILED',
      /new mount namespace is needed/,
    ],
    [
      'a namespace of another kind',
      ['true'],
      { linux: { namespaces: [{ type: 'mount' }, { type: 'network', path: '/proc/self/ns/ipc' }] } },
      'namespace',
      'EINVAL',
      'RUNTIME_FAILED',
      /it is not one/,
    ],
    [
      'a host name of the node’s',
      ['true'],
      namespaces('mount', 'pid'),
      'namespace',
      'EINVAL',
      'RUNTIME_FAILED',
      /no uts namespace/,
    ],
    [
      'hooks',
      ['true'],
      { hooks: { prestart: [{ path: '/bin/true' }] } },
      'config',
      'EINVAL',
      'RUNTIME_FAILED',
      /hooks\.prestart is not supported/,
    ],
    [
      'an AppArmor profile',
      ['true'],
      { process: { apparmorProfile: 'x' } },
      'config',
      'EOPNOTSUPP',
      'RUNTIME_FAILED',
      /AppArmor/,
    ],
    [
      'a cgroup path that climbs out',
      ['true'],
      { linux: { cgroupsPath: '/../x' } },
      'cgroup',
      'EINVAL',
      'RUNTIME_FAILED',
      /cgroupsPath/,
    ],
    [
      'a memory limit that nothing fits into',
      ['true'],
      { linux: { resources: { memory: { limit: 4096 } } } },
      'process',
      'ECHILD',
      'RUNTIME_FAILED',
      /memory limit is too small/,
    ],
  ];
  for (const [title, argv, changes, stage, errno, code, message] of cases) {
    it(title, async () => {
      const hostname = title.startsWith('a user namespace') || title.includes('mounts') ? '' : 'box';
      const container = fixture.container(argv, { hostname, ...changes });
      mkdirSync(join(container.upperDir, 'bin'));
      writeFileSync(join(container.upperDir, 'bin/alien'), 'no program at all', { mode: 0o755 });
      writeFileSync(join(container.upperDir, 'bin/script'), '#!/no/such/shell\n', { mode: 0o755 });
      await rejects(container.start(), (error: TsswarmError) => {
        equal(error.code, code, error.message);
        match(error.message, message);
        const cause = error.cause as { stage: string; errno: string };
        equal(cause.stage, stage, error.message);
        if (errno) equal(cause.errno, errno, error.message);
        return true;
      });
      deepEqual(fixture.leftovers(), []);
      equal(readState(container.runDir), undefined);
      equal(readExit(container.runDir), undefined);
    });
  }

  it('a folder in PATH before the program, by looking further', async () => {
    const container = fixture.container(['tool'], { process: { env: ['PATH=/a:/b:/bin'] } });
    mkdirSync(join(container.upperDir, 'a/tool'), { recursive: true });
    mkdirSync(join(container.upperDir, 'b'));
    symlinkSync('/bin/true', join(container.upperDir, 'b/tool'));
    equal((await container.run()).exit.code, 127, 'busybox itself says that it has no applet "tool"');
  });

  it('a /proc that is a link in the image', async () => {
    const container = fixture.container(['true']);
    symlinkSync('/tmp', join(container.upperDir, 'proc'));
    await rejects(container.start(), /must be a plain directory/);
    deepEqual(fixture.leftovers(), []);
  });

  it('a masked path that is not the kernel’s', async () => {
    const container = fixture.container(['true'], {
      mounts: [{ destination: '/proc/scsi', type: 'bind', source: '/var', options: ['rbind'] }],
      linux: { maskedPaths: ['/proc/scsi'] },
    });
    await rejects(container.start());
    deepEqual(fixture.leftovers(), []);
  });

  describe('a config.json that is', () => {
    for (const [title, text, message] of [
      ['empty', '', /ends too early/],
      ['cut short', '{"process": {"args": ["a"', /not a JSON object/],
      ['no object', '[]', /not a JSON object/],
      ['followed by something', '{} {}', /something follows/],
      ['deeper than sense', `${'['.repeat(100)}`, /nested too deeply/],
      ['with a NUL in a string', '{"a": "\\u0000"}', /a string is malformed/],
      ['with a lone surrogate', '{"a": "\\ud800"}', /a string is malformed/],
      ['with a fraction', '{"a": 1.5}', /not a whole number/],
      ['with a word too many', '{"a": nope}', /none of true, false, null/],
      ['without a process', '{"linux": {"cgroupsPath": "/x/y", "namespaces": [{"type": "mount"}]}}', /no arguments/],
      ['with a wrong type', '{"linux": {"cgroupsPath": 5}}', /"cgroupsPath" is not a string/],
    ] as const) {
      it(title, async () => {
        const container = fixture.container(['true']);
        writeFileSync(join(container.bundleDir, 'config.json'), text);
        await rejects(container.start(), message);
        deepEqual(fixture.leftovers(), []);
      });
    }
  });

  it('to start twice', async () => {
    const container = fixture.container(['sleep', '1000']);
    const { pid } = await container.start();
    await rejects(container.start(), { code: 'CONFLICT' });
    equal(readState(container.runDir)?.pid, pid, 'the first is untouched');
    process.kill(pid, 'SIGKILL');
    await container.ended();
    process.kill((await container.start()).pid, 'SIGKILL');
    await container.ended();
  });

  it('a log that cannot be opened, and a bundle or launcher that is not there', async () => {
    const container = fixture.container(['true']);
    const log = { path: '/no/such/log', maxSizeBytes: 0, maxFiles: 1 };
    await rejects(container.start({ log }), /opening the log "\/no\/such\/log"/);
    await rejects(container.start({ bundleDir: '/no/such' }), /opening the bundle "\/no\/such"/);
    await rejects(container.start({ program: '/no/such' }), { code: 'RUNTIME_FAILED', hint: /build:native/ });
    await rejects(startBundle({ bundleDir: container.bundleDir, runDir: '/no/such', stdin: false }), /run directory/);
  });

  it('arguments that it does not know, with its usage', () => {
    for (const args of [
      [],
      ['walk'],
      ['run', '--bundle'],
      ['run', '--fast'],
      ['run', '--bundle', '/x'],
      ['init', 'x'],
    ]) {
      const { status, stdout } = spawnSync(LAUNCHER_PROGRAM, args, { encoding: 'utf8' });
      equal(status, 1);
      match(stdout, /"stage":"arguments".*usage: tsrun run/);
    }
  });
});
