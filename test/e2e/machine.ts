import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { instanceName } from '../../cli/local-node/place.ts';

const root = join(import.meta.dirname, '..', '..');
const imagesDir = join(root, '.cache', 'images');

/** What a command printed and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * A machine of the test's own: a network namespace, folders and a cgroup parent, with a node on it that is driven by the
 * commands that users type. `dispose` takes everything away and then looks whether anything is left.
 */
export class Machine {
  readonly name: string;
  readonly dir: string;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(name: string, environment: NodeJS.ProcessEnv) {
    this.name = name;
    this.dir = mkdtempSync(join(tmpdir(), `${name}-`));
    this.#env = {
      ...process.env,
      PATH: `${join(root, 'bin')}:${process.env['PATH'] ?? ''}`,
      TSSWARM_STATE_DIR: join(this.dir, 'state'),
      TSSWARM_RUN_DIR: join(this.dir, 'run'),
      NO_COLOR: '1',
      HOME: this.dir,
      ...environment,
    };
  }

  /** Makes the machine, starts the node and loads images, made from Debian packages where they are missing. */
  static create(images: readonly string[]): Machine {
    const machine = Machine.bare(`tse2e${process.pid}`);
    machine.ok('tsswarm', 'init', '--no-systemd');
    machine.load(images);
    return machine;
  }

  /**
   * Makes the machine, and nothing on it.
   * @param name of its network namespace; nobody else's
   * @param environment variables that every program on it is started with, beside the usual ones
   */
  static bare(name: string, environment: NodeJS.ProcessEnv = {}): Machine {
    const machine = new Machine(name, environment);
    execFileSync('ip', ['netns', 'add', machine.name]);
    machine.inside(['ip', 'link', 'set', 'lo', 'up']);
    return machine;
  }

  /** Loads images into the node, made from Debian packages where they are missing. */
  load(images: readonly string[]): void {
    for (const image of images) {
      if (!existsSync(join(imagesDir, `${image}.tar`))) {
        execFileSync(process.execPath, [join(root, 'deploy/images/build.ts'), image], { stdio: 'ignore' });
      }
    }
    for (const image of images) this.ok('tsswarm', 'image', 'load', '-i', join(imagesDir, `${image}.tar`));
  }

  get stateDir(): string {
    return join(this.dir, 'state');
  }

  /** Path of the node's socket. */
  get socket(): string {
    return join(this.#env['TSSWARM_RUN_DIR'] ?? '', 'tsswarm.sock');
  }

  /** Process of the node's daemon; undefined: none runs. */
  daemonPid(): number | undefined {
    return this.pids().find((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`--state-dir\0${this.stateDir}\0`);
      } catch {
        return false;
      }
    });
  }

  /** The cgroup parent that the node chooses by itself. */
  get cgroupParent(): string {
    return instanceName({ stateDir: join(this.dir, 'state'), isDefault: false });
  }

  /** Runs a command on the machine. */
  run(...argv: readonly string[]): Outcome {
    return this.runWith({}, ...argv);
  }

  runWith(
    options: {
      readonly input?: string;
      readonly cwd?: string;
      readonly env?: Record<string, string>;
      readonly timeoutMs?: number;
      /** false: the command finds the node by its socket, and is not put into its namespace first. */
      readonly inNamespace?: boolean;
    },
    ...argv: readonly string[]
  ): Outcome {
    const [command = '', ...args] = options.inNamespace === false ? argv : this.#inNamespace(argv);
    const { status, stdout, stderr, error } = spawnSync(command, args, {
      env: { ...this.#env, ...options.env },
      cwd: options.cwd ?? this.dir,
      encoding: 'utf8',
      timeout: options.timeoutMs ?? 120_000,
      maxBuffer: 1 << 26,
      ...(options.input === undefined ? {} : { input: options.input }),
    });
    if (error !== undefined) throw error;
    return { code: status ?? -1, stdout, stderr };
  }

  /** Runs a command that must succeed. @returns its standard output */
  ok(...argv: readonly string[]): string {
    const { code, stdout, stderr } = this.run(...argv);
    assert.equal(code, 0, `${argv.join(' ')} ended with ${code}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Starts a command that goes on by itself. */
  start(...argv: readonly string[]) {
    const [command = '', ...args] = this.#inNamespace(argv);
    return spawn(command, args, { env: this.#env, cwd: this.dir, stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** The same without being put into the machine's namespace first: it finds the node by its socket. */
  startOutside(...argv: readonly string[]) {
    const [command = '', ...args] = argv;
    return spawn(command, args, { env: this.#env, cwd: this.dir, stdio: ['ignore', 'ignore', 'inherit'] });
  }

  /** Runs a tool in the machine's network namespace. */
  inside(argv: readonly string[]): string {
    const [command = '', ...args] = this.#inNamespace(argv);
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** Body of a page, fetched on the machine; undefined when nobody answers well. */
  fetch(url: string, ...flags: readonly string[]): string | undefined {
    const { code, stdout } = this.run('curl', '-fsS', '-m', '5', ...flags, url);
    return code === 0 ? stdout : undefined;
  }

  /** Writes files of a project. @returns its folder */
  project(name: string, files: Readonly<Record<string, string>>): string {
    const folder = join(this.dir, name);
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    return folder;
  }

  /** A compose command on a project's folder. */
  compose(folder: string, ...argv: readonly string[]): Outcome {
    return this.runWith({ cwd: folder }, 'tscompose', ...argv);
  }

  composeOk(folder: string, ...argv: readonly string[]): string {
    const outcome = this.compose(folder, ...argv);
    assert.equal(
      outcome.code,
      0,
      `tscompose ${argv.join(' ')} ended with ${outcome.code}\n${outcome.stdout}${outcome.stderr}`,
    );
    return outcome.stdout;
  }

  /** Leaves the cluster, takes the machine away, and looks for what is left. */
  dispose(): void {
    let left: string[] = [];
    const failures: unknown[] = [];
    try {
      this.#leave();
      // The kernel takes network namespaces apart in the background, one after the other.
      const deadline = performance.now() + 30_000;
      for (;;) {
        left = this.#leftovers();
        if (left.length === 0 || performance.now() > deadline) break;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
      }
    } catch (error) {
      failures.push(error);
    }
    // Whatever went wrong before: its reason must not be hidden by what follows from it.
    const steps = [
      () => this.pids().forEach((pid) => process.kill(pid, 'SIGKILL')),
      () => execFileSync('ip', ['netns', 'del', this.name]),
      () => rmSync(this.dir, { recursive: true, force: true }),
    ];
    for (const step of steps) {
      try {
        step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, failures.map(String).join('\n'));
    assert.deepEqual(left, [], 'nothing is left behind');
  }

  /** @throws with the daemon's last words when it does not end in time */
  #leave(): void {
    try {
      this.runWith({ timeoutMs: 30_000 }, 'tsswarm', 'leave', '--force');
    } catch (cause) {
      const log = this.run('tail', '-n', '15', join(this.stateDir, 'tsswarmd.log')).stdout;
      throw new Error(`leaving on ${this.name}: ${String(cause)}\n${log}`, { cause });
    }
  }

  #inNamespace(argv: readonly string[]): readonly string[] {
    return ['nsenter', `--net=/var/run/netns/${this.name}`, ...argv];
  }

  /** Processes in the machine's network namespace: daemons and the supervisors of containers; containers have namespaces of their own. */
  pids(): number[] {
    const out = spawnSync('ip', ['netns', 'pids', this.name], { encoding: 'utf8' }).stdout;
    return out.split('\n').filter(Boolean).map(Number);
  }

  #leftovers(): string[] {
    const links = this.inside(['ip', '-o', 'link'])
      .split('\n')
      // "wire" is the machine's own network card, where it has one.
      .filter((line) => line !== '' && !/^\d+: (lo|wire)[:@]/.test(line));
    const rules = this.inside(['nft', 'list', 'tables']).split('\n').filter(Boolean);
    const mounts = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.dir));
    const cgroups = ['cpu', 'memory', 'pids', 'unified', '.']
      .map((controller) => join('/sys/fs/cgroup', controller, this.cgroupParent))
      .filter((path) => existsSync(path));
    const containers = join(this.dir, 'state', 'engine', 'containers');
    const dirs = existsSync(containers) ? readdirSync(containers) : [];
    const pids = this.pids().map((pid) => `process ${pid}`);
    return [...links, ...rules, ...mounts, ...cgroups, ...dirs, ...pids];
  }
}

/** Repeats `look` until it gives something, for things that become true without telling. */
export async function eventually<T>(look: () => T | undefined, what: string, timeoutMs = 20_000): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
