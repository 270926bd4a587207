import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { ProcessIdentity, RecordedExit, StartBundle } from '../../../node-engine/launcher/index.ts';
import { killAll, readExit, readState, startBundle, waitForExit } from '../../../node-engine/launcher/index.ts';
import { isAlive } from '../../../node-engine/launcher/index.ts';
import { readLog } from '../../../node-engine/log/index.ts';
import type { OutputChunk } from '../../../node-engine/types.ts';

/** Docker's default set. */
export const CAPABILITIES = [
  ...['CAP_CHOWN', 'CAP_DAC_OVERRIDE', 'CAP_FSETID', 'CAP_FOWNER', 'CAP_MKNOD', 'CAP_NET_RAW', 'CAP_SETGID'],
  ...['CAP_SETUID', 'CAP_SETFCAP', 'CAP_SETPCAP', 'CAP_NET_BIND_SERVICE', 'CAP_SYS_CHROOT', 'CAP_KILL'],
  'CAP_AUDIT_WRITE',
];

type Json = Record<string, unknown>;

/** What a test changes of the standard bundle: objects are merged at their first level, lists replaced. */
export interface BundleChanges {
  readonly process?: Json;
  readonly linux?: Json;
  readonly root?: Json;
  readonly annotations?: Json;
  /** Mounts after the standard ones. */
  readonly mounts?: readonly Json[];
  readonly hostname?: string;
  readonly hooks?: Json;
}

/** One container with its bundle, on an overlay over a busybox root. */
export class Container {
  readonly bundleDir: string;
  readonly runDir: string;
  readonly logPath: string;
  readonly upperDir: string;
  readonly cgroup: string;

  constructor(dir: string, cgroup: string) {
    this.bundleDir = join(dir, 'bundle');
    this.runDir = join(dir, 'run');
    this.logPath = join(dir, 'log');
    this.upperDir = join(dir, 'upper');
    this.cgroup = cgroup;
  }

  /** Starts it. @throws what startBundle throws */
  start(options: Partial<StartBundle> = {}): Promise<ProcessIdentity> {
    return startBundle({
      bundleDir: this.bundleDir,
      runDir: this.runDir,
      log: { path: this.logPath, maxSizeBytes: 0, maxFiles: 1 },
      stdin: false,
      ...options,
    });
  }

  /** Resolves when it has ended and all of it is gone. */
  async ended(): Promise<RecordedExit> {
    await waitForExit(this.runDir);
    const exit = readExit(this.runDir);
    if (!exit) throw new Error(`the container in ${this.runDir} left no exit status`);
    return exit;
  }

  /** Starts it and waits for its end. */
  async run(options: Partial<StartBundle> = {}): Promise<{ exit: RecordedExit; stdout: string; stderr: string }> {
    await this.start(options);
    const exit = await this.ended();
    return { exit, stdout: await this.logged('stdout'), stderr: await this.logged('stderr') };
  }

  /** What the log has of a stream. */
  async logged(stream: OutputChunk['stream']): Promise<string> {
    const parts: Uint8Array[] = [];
    const query = { follow: false, tail: -1, since: 0, until: 0 };
    for await (const record of readLog(this.logPath, query, Promise.resolve()))
      if (record.stream === stream) parts.push(record.data);
    return Buffer.concat(parts).toString();
  }
}

/** A folder, a busybox root and a cgroup parent of a test's own, and all the containers it made. */
export class LauncherFixture {
  readonly dir = mkdtempSync('/var/tmp/tsswarm-launcher-');
  readonly rootfs = join(this.dir, 'rootfs');
  readonly cgroupParent = `tsswarm-launcher-${randomBytes(4).toString('hex')}`;
  readonly #containers: Container[] = [];

  constructor() {
    const busybox = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path));
    if (busybox === undefined) throw new Error('these tests need busybox: apt-get install busybox-static');
    for (const dir of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root', 'home'])
      mkdirSync(join(this.rootfs, dir), { recursive: true });
    copyFileSync(busybox, join(this.rootfs, 'bin/busybox'));
    chmodSync(join(this.rootfs, 'bin/busybox'), 0o755);
    for (const applet of execFileSync(busybox, ['--list'], { encoding: 'utf8' }).split('\n').filter(Boolean))
      if (applet !== 'busybox') symlinkSync('busybox', join(this.rootfs, 'bin', applet));
    writeFileSync(
      join(this.rootfs, 'etc/passwd'),
      'root:x:0:0:root:/root:/bin/sh\nana:x:1001:1002:Ana:/home/ana:/bin/sh\n',
    );
    writeFileSync(
      join(this.rootfs, 'etc/group'),
      'root:x:0:\nana:x:1002:\naudio:x:29:ana,other\nvideo:x:44:other,ana\nwheel:x:10:\n',
    );
  }

  /** A container that will run `argv`. */
  container(argv: readonly string[], changes: BundleChanges = {}): Container {
    const name = `c${this.#containers.length}`;
    const container = new Container(join(this.dir, name), `/${this.cgroupParent}/${name}`);
    this.#containers.push(container);
    const workDir = join(this.dir, name, 'work');
    for (const dir of [container.bundleDir, container.upperDir, workDir]) mkdirSync(dir, { recursive: true });
    mkdirSync(container.runDir, { mode: 0o700 });
    const overlay = { lower: [this.rootfs], upper: container.upperDir, work: workDir };
    writeFileSync(join(container.bundleDir, 'config.json'), JSON.stringify(config(argv, container, overlay, changes)));
    return container;
  }

  /** A container that runs a shell script. */
  script(text: string, changes: BundleChanges = {}): Container {
    return this.container(['/bin/sh', '-c', text], changes);
  }

  /** Files for an exec: path of its OCI process. */
  process(argv: readonly string[], changes: Json = {}): string {
    const path = join(this.dir, `process-${randomBytes(4).toString('hex')}.json`);
    writeFileSync(path, JSON.stringify({ ...standardProcess(argv), ...changes }));
    return path;
  }

  /** Ends and removes everything, also after a failure. */
  async dispose(): Promise<void> {
    for (const { runDir } of this.#containers) {
      await killAll(runDir);
      await waitForExit(runDir);
      // The supervisor itself ends a moment after it has announced the end.
      const supervisor = readState(runDir)?.supervisor;
      while (supervisor && isAlive(supervisor)) await setImmediate();
    }
    removeCgroups(this.cgroupParent);
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** What of the containers is still on the machine: processes, cgroups, mounts, sockets. */
  leftovers(): string[] {
    // In version 2 the supervisors' own group is the parent's, and stays while the parent does.
    const shared = [this.cgroupParent, `${this.cgroupParent}/supervisors`];
    const found = cgroupsBelow(this.cgroupParent).filter((path) => !shared.some((one) => path.endsWith(one)));
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    found.push(...mounts.filter((line) => line.includes(this.dir)));
    for (const { runDir } of this.#containers) {
      const state = readState(runDir);
      if (existsSync(join(runDir, 'control.sock'))) found.push(join(runDir, 'control.sock'));
      if (state && isAlive(state)) found.push(`process ${state.pid}`);
    }
    return found;
  }
}

function standardProcess(argv: readonly string[]): Json {
  return {
    args: argv,
    env: ['PATH=/bin'],
    cwd: '/',
    user: { uid: 0, gid: 0 },
    capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
  };
}

function config(argv: readonly string[], container: Container, overlay: Json, changes: BundleChanges): Json {
  return {
    ociVersion: '1.0.2',
    hostname: changes.hostname ?? 'box',
    root: { path: 'rootfs', ...changes.root },
    process: { ...standardProcess(argv), ...changes.process },
    mounts: [...STANDARD_MOUNTS, ...(changes.mounts ?? [])],
    annotations: { 'tsswarm.overlay': JSON.stringify(overlay), ...changes.annotations },
    linux: {
      cgroupsPath: container.cgroup,
      namespaces: ['mount', 'pid', 'uts', 'ipc', 'network', 'cgroup'].map((type) => ({ type })),
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware', '/proc/no-such-file'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
      ...changes.linux,
    },
    ...(changes.hooks ? { hooks: changes.hooks } : {}),
  };
}

const mount = (destination: string, type: string, options: string): Json => ({
  destination,
  type,
  source: type,
  options: options.split(','),
});

const STANDARD_MOUNTS: readonly Json[] = [
  mount('/proc', 'proc', 'nosuid,noexec,nodev'),
  mount('/dev', 'tmpfs', 'nosuid,strictatime,mode=755,size=65536k'),
  mount('/dev/pts', 'devpts', 'nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5'),
  mount('/dev/shm', 'tmpfs', 'nosuid,noexec,nodev,mode=1777,size=65536k'),
  mount('/dev/mqueue', 'mqueue', 'nosuid,noexec,nodev'),
  mount('/sys', 'sysfs', 'nosuid,noexec,nodev,ro'),
  mount('/sys/fs/cgroup', 'cgroup', 'nosuid,noexec,nodev,relatime,ro'),
];

/** Mount points of the machine's cgroup hierarchies with the words that follow them (type, controllers). */
export function cgroupMounts(): { path: string; rest: string }[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(' - cgroup'))
    .map((line) => ({ path: line.split(' ')[4] ?? '', rest: line.split(' - ')[1] ?? '' }));
}

/** The directory of a container's cgroup in the hierarchy that has a controller. */
export function cgroupDir(controller: string, path: string): string {
  const v1 = cgroupMounts().find(({ rest }) => rest.startsWith('cgroup ') && rest.split(/[ ,]/).includes(controller));
  const mountPoint = v1 ?? cgroupMounts().find(({ rest }) => rest.startsWith('cgroup2'));
  if (!mountPoint) throw new Error(`no cgroup hierarchy for ${controller}`);
  return join(mountPoint.path, path);
}

function cgroupsBelow(parent: string): string[] {
  const found: string[] = [];
  const walk = (dir: string): void => {
    if (!existsSync(dir)) return;
    found.push(dir);
    for (const entry of readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) walk(join(dir, entry.name));
  };
  for (const { path } of cgroupMounts()) walk(join(path, parent));
  return found;
}

function removeCgroups(parent: string): void {
  for (const dir of cgroupsBelow(parent).toReversed()) rmdirSync(dir);
}

/** Everything a session gives of both streams. */
export async function collect(output: AsyncIterable<OutputChunk>): Promise<{ stdout: string; stderr: string }> {
  const parts = { stdout: [] as Uint8Array[], stderr: [] as Uint8Array[] };
  for await (const { stream, data } of output) parts[stream].push(data);
  return { stdout: Buffer.concat(parts.stdout).toString(), stderr: Buffer.concat(parts.stderr).toString() };
}

/** Reads until `text` has been seen; the rest stays unread. Returns what came. */
export class OutputReader {
  readonly #iterator: AsyncIterator<OutputChunk>;
  #seen = '';

  constructor(output: AsyncIterable<OutputChunk>) {
    this.#iterator = output[Symbol.asyncIterator]();
  }

  async until(text: string): Promise<string> {
    for (;;) {
      const at = this.#seen.indexOf(text);
      if (at >= 0) {
        const found = this.#seen.slice(0, at + text.length);
        this.#seen = this.#seen.slice(at + text.length);
        return found;
      }
      const { value, done } = await this.#iterator.next();
      if (done === true) throw new Error(`the output ended without "${text}" after: ${this.#seen}`);
      this.#seen += Buffer.from(value.data).toString();
    }
  }
}

/** Waits for a condition of another process. @throws after a minute, which nothing here takes on the slowest of machines */
export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`it never came true: ${holds.toString()}`);
    await setImmediate();
  }
}
