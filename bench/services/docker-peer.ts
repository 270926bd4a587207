import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Disk } from '../disk.ts';
import { PUBLISHED_PORT } from '../network/load.ts';
import type { Pair } from '../network/load.ts';
import type { Started } from '../network/names.ts';
import { memoryOf, middle, sum } from './memory.ts';
import { IMAGE, PATIENCE_MS, PROJECT, until } from './peer.ts';
import type { Peer } from './peer.ts';
import { Wire } from './wire.ts';

const NODES = 3;

interface SwarmTask {
  readonly ID: string;
  readonly Status: { readonly State: string; readonly Timestamp: string };
  readonly NetworksAttachments?: readonly { readonly Addresses?: readonly string[] }[];
  readonly Spec: { readonly Resources?: { readonly Limits?: { readonly NanoCPUs?: number } } };
}

/** Three real dockerds, all managers of one swarm, each in a network namespace and folders of its own. */
export class DockerPeer implements Peer {
  readonly #wire = new Wire(`tsbd${process.pid}n`, NODES);
  readonly #dir = mkdtempSync(join(tmpdir(), 'tsbench-swarm-'));
  readonly #disk: Disk | undefined;
  readonly #daemons: ChildProcess[] = [];
  #fresh = 0;

  private constructor(disk: Disk | undefined) {
    this.#disk = disk;
  }

  /** @returns undefined where Docker's daemon is not installed */
  static async start(archive: string, disk?: Disk): Promise<DockerPeer | undefined> {
    if (spawnSync('sh', ['-c', 'command -v dockerd']).status !== 0) return undefined;
    const peer = new DockerPeer(disk);
    try {
      for (let node = 0; node < NODES; node++) peer.#startDaemon(node);
      for (let node = 0; node < NODES; node++) await until(() => peer.#answers(node), `dockerd ${node} to answer`);
      for (let node = 0; node < NODES; node++) peer.#docker(node, 'load', '-i', archive);
      peer.#docker(0, 'swarm', 'init', '--advertise-addr', peer.#wire.address(0));
      const token = peer.#docker(0, 'swarm', 'join-token', '-q', 'manager').trim();
      for (let node = 1; node < NODES; node++) {
        const addresses = ['--advertise-addr', peer.#wire.address(node), `${peer.#wire.address(0)}:2377`];
        peer.#docker(node, 'swarm', 'join', '--token', token, ...addresses);
      }
      const ready = async (): Promise<boolean> => {
        const nodes = (await peer.#get('/nodes')) as readonly { readonly Status: { readonly State: string } }[];
        return nodes.filter(({ Status }) => Status.State === 'ready').length === NODES;
      };
      await until(ready, 'three nodes to be ready');
      return peer;
    } catch (error) {
      await peer.stop();
      throw error;
    }
  }

  async create(replicas: number, onFirst: boolean): Promise<number> {
    const { Swarm } = (await this.#get('/info')) as { readonly Swarm: { readonly NodeID: string } };
    const placement = onFirst ? ['--constraint', `node.id==${Swarm.NodeID}`] : [];
    const flags = ['--detach', '--no-resolve-image', '--stop-grace-period', '0s', '--replicas', String(replicas)];
    const started = performance.now();
    this.#docker(0, 'service', 'create', '--name', 'bench', ...flags, ...placement, ...IMAGE);
    await until(async () => (await this.#running()).length >= replicas, `${replicas} tasks to run`);
    return performance.now() - started;
  }

  /** Creates a service whose containers do not end when they are asked to: the first process of a container ignores SIGTERM. */
  async createStubborn(replicas: number): Promise<void> {
    const flags = ['--detach', '--no-resolve-image', '--replicas', String(replicas)];
    this.#docker(0, 'service', 'create', '--name', 'bench', ...flags, ...IMAGE);
    await until(async () => (await this.#running()).length >= replicas, `${replicas} tasks to run`);
  }

  /** Changes the CPU limit of that service with Docker's defaults. @returns ms until all tasks run with it, and how many are new */
  async changeCpuLimit(cpus: number, replicas: number): Promise<{ readonly ms: number; readonly restarts: number }> {
    const before = new Set((await this.#running()).map(({ ID }) => ID));
    const started = performance.now();
    this.#docker(0, 'service', 'update', '--detach', '--limit-cpu', String(cpus), 'bench');
    const limited = async (): Promise<readonly SwarmTask[]> =>
      (await this.#running()).filter(({ Spec }) => Spec.Resources?.Limits?.NanoCPUs === cpus * 1e9);
    await until(async () => (await limited()).length >= replicas, 'all tasks to have the limit', 300_000);
    const ms = performance.now() - started;
    return { ms, restarts: (await limited()).filter(({ ID }) => !before.has(ID)).length };
  }

  async #running(): Promise<readonly SwarmTask[]> {
    return ((await this.#get('/tasks')) as readonly SwarmTask[]).filter(({ Status }) => Status.State === 'running');
  }

  /** Containers on the first two nodes that reach each other over an overlay network. */
  overlayPair(): Pair {
    this.#docker(0, 'network', 'create', '-d', 'overlay', '--attachable', 'bench');
    const pids = [0, 1].map((node) => {
      this.#docker(node, 'run', '-d', '--network', 'bench', '--name', `pair${node}`, ...IMAGE);
      return this.#docker(node, 'inspect', '-f', '{{.State.Pid}}', `pair${node}`).trim();
    });
    const [client, server] = pids.map((pid) => [`--net=/proc/${pid}/ns/net`]);
    const address = this.#docker(1, 'inspect', '-f', '{{.NetworkSettings.Networks.bench.IPAddress}}', 'pair1').trim();
    return { client: client ?? [], server: server ?? [], address };
  }

  /**
   * From the second node to the published port of a web server on the first.
   * @param archive of an image "nginx"
   */
  publishedPair(archive: string): Pair {
    this.#docker(0, 'load', '-i', archive);
    this.#docker(
      0,
      'run',
      '-d',
      '-p',
      '80:80',
      '-p',
      `${PUBLISHED_PORT}:${PUBLISHED_PORT}`,
      '--name',
      'published',
      'nginx',
    );
    const pid = this.#docker(0, 'inspect', '-f', '{{.State.Pid}}', 'published').trim();
    return {
      client: [`--net=/var/run/netns/${this.#wire.namespace(1)}`],
      server: [`--net=/proc/${pid}/ns/net`],
      address: this.#wire.address(0),
      port: PUBLISHED_PORT,
    };
  }

  /** Starts one more task of the service "fresh" on the second node, on the network of `overlayPair`. */
  async startFresh(): Promise<Started> {
    const before = new Set((await this.#running()).map(({ ID }) => ID));
    const flags = ['--detach', '--no-resolve-image', '--stop-grace-period', '0s', '--network', 'bench'];
    if (this.#fresh++ === 0) {
      const { Swarm } = (await this.#get('/info', 1)) as { readonly Swarm: { readonly NodeID: string } };
      const place = ['--constraint', `node.id==${Swarm.NodeID}`];
      this.#docker(0, 'service', 'create', '--name', 'fresh', ...flags, ...place, ...IMAGE);
    } else this.#docker(0, 'service', 'scale', '--detach', `fresh=${this.#fresh}`);
    const added = async (): Promise<SwarmTask | undefined> => (await this.#running()).find(({ ID }) => !before.has(ID));
    await until(async () => (await added()) !== undefined, 'a task to run');
    const task = await added();
    const [address = ''] = task?.NetworksAttachments?.flatMap(({ Addresses = [] }) => Addresses) ?? [];
    return { address: address.split('/')[0] ?? '', at: Date.parse(task?.Status.Timestamp ?? '') };
  }

  async remove(): Promise<void> {
    this.#docker(0, 'service', 'rm', 'bench');
    const gone = async (): Promise<boolean> => {
      if (((await this.#get('/tasks')) as readonly unknown[]).length > 0) return false;
      return this.#nodes().every((node) => this.#docker(node, 'ps', '-aq').trim() === '');
    };
    await until(gone, 'the containers to end');
  }

  createByFlags(): Promise<number> {
    return this.create(1, false);
  }

  removeByFlags(): Promise<void> {
    return this.remove();
  }

  async deploy(): Promise<number> {
    const file = join(this.#dir, 'compose.yaml');
    writeFileSync(file, PROJECT);
    const started = performance.now();
    this.#docker(0, 'stack', 'deploy', '--detach', '--resolve-image', 'never', '-c', file, 'bench');
    await until(async () => (await this.#running()).length > 0, 'a task to run');
    return performance.now() - started;
  }

  async removeDeployed(): Promise<void> {
    this.#docker(0, 'stack', 'rm', 'bench');
    const gone = async (): Promise<boolean> =>
      ((await this.#get('/tasks')) as readonly unknown[]).length === 0 &&
      this.#nodes().every((node) => this.#docker(node, 'network', 'ls', '-q', '-f', 'name=bench').trim() === '');
    await until(gone, 'the stack to be gone');
  }

  memory(): ReturnType<Peer['memory']> {
    const mine = (command: string): boolean =>
      [`${this.#dir}/0/`, `${this.#exec(0)}/`].some((at) => command.includes(at));
    const isDaemon = (command: string): boolean => /^\S*(dockerd|containerd) /.test(command);
    return {
      daemons: sum(memoryOf((command) => mine(command) && isDaemon(command))),
      container: middle(memoryOf((command) => mine(command) && command.includes('containerd-shim'))),
    };
  }

  async stop(): Promise<void> {
    for (const node of this.#nodes()) spawnSync('docker', ['-H', this.#host(node), 'swarm', 'leave', '--force'], QUIET);
    for (const daemon of this.#daemons) {
      if (daemon.exitCode !== null) continue;
      const ended = new Promise((resolve) => daemon.once('exit', resolve));
      daemon.kill('SIGTERM');
      const timer = setTimeout(() => daemon.kill('SIGKILL'), 20_000);
      await ended;
      clearTimeout(timer);
    }
    for (const folder of [this.#dir, ...this.#nodes().map((node) => this.#exec(node))])
      spawnSync('sh', ['-c', `grep -o "${folder}[^ ]*" /proc/mounts | sort -ru | xargs -r umount -l`], QUIET);
    this.#wire.remove();
    rmSync(this.#dir, { recursive: true, force: true });
    spawnSync('find', ['/sys/fs/cgroup', '-depth', '-type', 'd', '-path', `*/${this.#cgroup}*`, '-delete'], QUIET);
  }

  get #cgroup(): string {
    return `tsbench${process.pid}`;
  }

  #nodes(): readonly number[] {
    return [...Array(NODES).keys()];
  }

  #startDaemon(node: number): void {
    const dir = join(this.#dir, String(node));
    const folders = ['--data-root', `${dir}/data`, '--exec-root', this.#exec(node), '-p', `${dir}/docker.pid`];
    const flags = [...folders, '-H', this.#host(node), '--cgroup-parent', `/${this.#cgroup}`];
    const namespace = `--net=/var/run/netns/${this.#wire.namespace(node)}`;
    this.#daemons.push(spawn('nsenter', [namespace, 'dockerd', ...flags], { stdio: 'ignore' }));
  }

  #exec(node: number): string {
    return this.#disk?.runDir(`docker${node}`) ?? join(this.#dir, String(node), 'exec');
  }

  #host(node: number): string {
    return `unix://${this.#dir}/${node}.sock`;
  }

  #answers(node: number): boolean {
    return spawnSync('docker', ['-H', this.#host(node), 'info'], { stdio: 'ignore', timeout: 10_000 }).status === 0;
  }

  #docker(node: number, ...args: readonly string[]): string {
    const argv = ['-H', this.#host(node), ...args];
    return execFileSync('docker', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: PATIENCE_MS });
  }

  /** An answer of a node's API: looking costs less than a command would. */
  #get(path: string, node = 0): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const socketPath = `${this.#dir}/${node}.sock`;
      const call = request({ socketPath, path: `/v1.41${path}`, timeout: PATIENCE_MS }, (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString())));
        answer.on('error', reject);
      });
      call.on('error', reject);
      call.end();
    });
  }
}

const QUIET = { stdio: 'ignore', timeout: 30_000 } as const;
