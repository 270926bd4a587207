import { deepEqual, equal, ok, rejects, throws } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  lstatSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  MNT,
  MS,
  S_IFMT,
  bindSocket,
  inNetns,
  lgetxattr,
  llistxattr,
  lockFile,
  lremovexattr,
  lsetxattr,
  lutimes,
  mknod,
  mount,
  processStartTime,
  syncfs,
  umount,
} from '../../../node-engine/native/addon.ts';

describe('the native addon', () => {
  let directory = '';
  const path = (name: string): string => join(directory, name);

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'tsswarm-addon-test-'));
    mount('tmpfs', directory, 'tmpfs', MS.NOSUID, 'size=1m,mode=755');
  });
  after(() => {
    umount(directory, MNT.DETACH);
    rmSync(directory, { recursive: true });
  });

  it('mounts and unmounts', () => {
    const inner = mkdtempSync(path('inner-'));
    mount('tmpfs', inner, 'tmpfs');
    writeFileSync(join(inner, 'file'), '');
    umount(inner);
    deepEqual(readdirSync(inner), []);
  });
  it('throws errors like those of node:fs', () => {
    throws(() => mount('tmpfs', path('missing'), 'tmpfs'), {
      code: 'ENOENT',
      errno: -2,
      syscall: 'mount',
      path: path('missing'),
    });
    throws(() => umount(path('missing')), { code: 'ENOENT', syscall: 'umount2' });
  });
  it('refuses a path with a zero byte and arguments of the wrong type', () => {
    throws(() => umount('/tmp\0/x'), TypeError);
    throws(() => umount(7 as unknown as string), TypeError);
    throws(() => mknod(path('x'), 'mode' as unknown as number), TypeError);
  });
  it('makes device nodes and pipes with exactly the mode asked for', () => {
    mknod(path('whiteout'), S_IFMT.CHARACTER | 0o666);
    mknod(path('tty'), S_IFMT.CHARACTER | 0o620, 300, 70_000);
    mknod(path('pipe'), S_IFMT.FIFO | 0o662);
    equal(statSync(path('whiteout')).mode, S_IFMT.CHARACTER | 0o666);
    equal(statSync(path('whiteout')).rdev, 0);
    equal(statSync(path('tty')).rdev, (70_000 & 0xff) | (300 << 8) | ((70_000 & ~0xff) << 12));
    equal(statSync(path('pipe')).mode, S_IFMT.FIFO | 0o662);
  });
  it('reads and writes extended attributes, of links themselves', () => {
    writeFileSync(path('file'), '');
    symlinkSync('file', path('link'));
    const binary = Buffer.from([0, 255, 0, 1]);
    lsetxattr(path('link'), 'trusted.test', binary);
    lsetxattr(path('file'), 'trusted.empty', '');
    deepEqual(lgetxattr(path('link'), 'trusted.test'), binary);
    deepEqual(lgetxattr(path('file'), 'trusted.empty'), Buffer.alloc(0));
    equal(lgetxattr(path('file'), 'trusted.test'), undefined);
    deepEqual(llistxattr(path('file')), ['trusted.empty']);
    lremovexattr(path('file'), 'trusted.empty');
    deepEqual(llistxattr(path('file')), []);
    throws(() => lgetxattr(path('missing'), 'trusted.test'), { code: 'ENOENT' });
    throws(() => lremovexattr(path('file'), 'trusted.empty'), { code: 'ENODATA' });
  });
  it('takes names that are not UTF-8', () => {
    const name = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from([0xe9])]);
    mknod(name, S_IFMT.FIFO | 0o600);
    ok(lstatSync(name).isFIFO());
  });
  it('sets times to the nanosecond, also before 1970, of links themselves', () => {
    writeFileSync(path('timed'), '');
    symlinkSync('timed', path('timed-link'));
    lutimes(path('timed-link'), -1n, 1_234_567_890_123_456_789n);
    const { atimeNs, mtimeNs } = lstatSync(path('timed-link'), { bigint: true });
    deepEqual([atimeNs, mtimeNs], [-1n, 1_234_567_890_123_456_789n]);
    ok(statSync(path('timed'), { bigint: true }).mtimeNs !== mtimeNs);
  });
  it('writes a file system to its disk', async () => {
    await syncfs(directory);
    await rejects(syncfs(path('missing')), { code: 'ENOENT', syscall: 'syncfs' });
  });
  it('locks a file against everybody else until it is given back', () => {
    const release = lockFile(path('lock'));
    ok(release);
    equal(lockFile(path('lock')), undefined);
    release();
    lockFile(path('lock'))?.();
  });
  it('tells when a process began, and nothing of one that is gone', async () => {
    const child = spawn('/bin/cat', { stdio: ['pipe', 'ignore', 'ignore'] });
    const started = processStartTime(child.pid ?? 0);
    ok(started !== undefined && started >= (processStartTime(process.pid) ?? 0n));
    child.stdin.end();
    await once(child, 'exit');
    equal(processStartTime(child.pid ?? 0), undefined);
  });

  describe('network namespaces', () => {
    const file = (): string => path('netns');
    afterEach(() => {
      umount(file(), MNT.DETACH);
      rmSync(file());
    });

    it('are made with settings of their own, and leave the process where it is', async () => {
      const before = readFileSync('/proc/net/dev', 'utf8').split('\n').length;
      const setting = '/proc/sys/net/ipv4/ip_unprivileged_port_start';
      const own = readFileSync(setting, 'utf8');
      await inNetns({
        path: file(),
        create: true,
        sysctls: [
          ['net/ipv4/ip_unprivileged_port_start', '7'],
          ['-net/there/is/no/such', '1'],
        ],
      });
      equal(readFileSync('/proc/net/dev', 'utf8').split('\n').length, before);
      equal(readFileSync(setting, 'utf8'), own);
      await rejects(inNetns({ path: file(), create: true }), { code: 'EEXIST' });
      await rejects(inNetns({ path: file(), sysctls: [['net/there/is/no/such', '1']] }), { code: 'ENOENT' });
    });
    it('hold ports of their own', async () => {
      await inNetns({ path: file(), create: true });
      const first = await bindSocket(file(), 'udp', '0.0.0.0', 0);
      ok(first.port > 0);
      await rejects(bindSocket(file(), 'udp', '0.0.0.0', first.port), { code: 'EADDRINUSE' });
      await rejects(bindSocket('', 'udp', '192.0.2.1', 0), { code: 'EADDRNOTAVAIL' });
      await rejects(bindSocket(path('missing'), 'udp', '0.0.0.0', 0), { code: 'ENOENT' });
    });
  });
});
