import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median } from './measure.ts';
import { rssOf } from './memory.ts';

/** A real dockerd with a one-node swarm, in a network namespace and folders of its own. */
export class DockerPeer {
  readonly #netns = `tsbench${process.pid}d`;
  readonly #dir = mkdtempSync(join(tmpdir(), 'tsbench-docker-'));
  /** In memory, as /run is on a real machine. */
  readonly #execRoot = mkdtempSync('/dev/shm/tsbench-docker-');
  #daemon: ChildProcess | undefined;

  /** @returns undefined where Docker's daemon is not installed */
  static async start(archive: string): Promise<DockerPeer | undefined> {
    if (spawnSync('sh', ['-c', 'command -v dockerd']).status !== 0) return undefined;
    const peer = new DockerPeer();
    execFileSync('ip', ['netns', 'add', peer.#netns]);
    execFileSync('ip', ['-n', peer.#netns, 'link', 'set', 'lo', 'up']);
    const dir = peer.#dir;
    const flags = [
      '--data-root',
      `${dir}/data`,
      '--exec-root',
      peer.#execRoot,
      '-H',
      `unix://${dir}/docker.sock`,
      '-p',
      `${dir}/docker.pid`,
    ];
    peer.#daemon = spawn('nsenter', [`--net=/var/run/netns/${peer.#netns}`, 'dockerd', ...flags], { stdio: 'ignore' });
    for (
      let i = 0;
      i < 200 && spawnSync('docker', ['-H', `unix://${dir}/docker.sock`, 'info'], { stdio: 'ignore' }).status !== 0;
      i++
    ) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    peer.#docker('load', '-i', archive);
    peer.#docker('swarm', 'init', '--advertise-addr', '127.0.0.1');
    return peer;
  }

  /** `docker run --rm` of a program that ends at once, as a user types it, in ms. */
  runOnce(): number {
    const started = performance.now();
    this.#docker('run', '--rm', 'busybox', 'true');
    return performance.now() - started;
  }

  /** A service with `replicas` tasks, from the command until all containers run, in ms. It is removed again. */
  async up(replicas: number): Promise<number> {
    const started = performance.now();
    this.#docker(
      'service',
      'create',
      '--detach',
      '--name',
      'bench',
      '--replicas',
      String(replicas),
      'busybox',
      'sleep',
      '100000',
    );
    while (this.#running() < replicas) await new Promise((resolve) => setTimeout(resolve, 10));
    return performance.now() - started;
  }

  async down(): Promise<void> {
    this.#docker('service', 'rm', 'bench');
    // sleep as PID 1 ignores SIGTERM: the ten seconds of grace are not what is measured here.
    const ids = this.#docker('ps', '-q').split('\n').filter(Boolean);
    if (ids.length > 0) spawnSync('docker', ['-H', this.#host, 'kill', ...ids], { stdio: 'ignore' });
    while (this.#docker('ps', '-aq').trim() !== '') {
      await new Promise((resolve) => setTimeout(resolve, 50));
      const left = this.#docker('ps', '-aq').split('\n').filter(Boolean);
      if (left.length > 0) spawnSync('docker', ['-H', this.#host, 'rm', '-f', ...left], { stdio: 'ignore' });
    }
  }

  /** Bytes: per container (its shim, median), and of the daemons together. */
  memory(): { readonly perContainer: number; readonly daemons: number } {
    const shims = rssOf((command) => command.includes('containerd-shim') && this.#isOurs(command));
    const daemons = rssOf(
      (command) => (command.startsWith('dockerd') || command.startsWith('containerd ')) && this.#isOurs(command),
    );
    return { perContainer: median(shims), daemons: daemons.reduce((a, b) => a + b, 0) };
  }

  /** Whether a process has one of the folders in its command line. */
  #isOurs(command: string): boolean {
    return command.includes(this.#dir) || command.includes(this.#execRoot);
  }

  async stop(): Promise<void> {
    spawnSync('docker', ['-H', this.#host, 'swarm', 'leave', '--force'], { stdio: 'ignore' });
    const daemon = this.#daemon;
    if (daemon !== undefined) {
      const ended = new Promise((resolve) => daemon.once('exit', resolve));
      daemon.kill('SIGTERM');
      await ended;
    }
    spawnSync('sh', ['-c', `grep -o "${this.#dir}[^ ]*" /proc/mounts | sort -ru | xargs -r umount -l`], {
      stdio: 'ignore',
    });
    execFileSync('ip', ['netns', 'del', this.#netns]);
    rmSync(this.#dir, { recursive: true, force: true });
    rmSync(this.#execRoot, { recursive: true, force: true });
  }

  get #host(): string {
    return `unix://${this.#dir}/docker.sock`;
  }

  #running(): number {
    return this.#docker('ps', '-q', '--filter', 'status=running').split('\n').filter(Boolean).length;
  }

  #docker(...args: readonly string[]): string {
    return execFileSync('docker', ['-H', this.#host, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }
}
