import { execFileSync, spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Wire } from '../services/wire.ts';
import { timeUntil } from './peer.ts';
import type { Loss, Peer } from './peer.ts';

const [MANAGERS, NODES] = [3, 5];
const VICTIM = 4;
const QUIET = { stdio: 'ignore', timeout: 30_000 } as const;

/** Five real dockerds in one swarm, three of them managers, each in a network namespace and folders of its own. */
export class DockerPeer implements Peer {
  readonly repeats = false;
  readonly #name = `tsbfd${process.pid}n`;
  readonly #wire = new Wire(this.#name, NODES);
  readonly #dir = mkdtempSync(join(tmpdir(), 'tsbench-loss-'));
  readonly #daemons: ChildProcess[] = [];

  /** @returns undefined where Docker's daemon is not installed */
  static async start(archive: string): Promise<DockerPeer | undefined> {
    if (spawnSync('sh', ['-c', 'command -v dockerd']).status !== 0) return undefined;
    const peer = new DockerPeer();
    try {
      // One after the other: five that start at once on two cores give up waiting for their containerd.
      for (let node = 0; node < NODES; node++) {
        peer.#startDaemon(node);
        const answers = (): boolean => spawnSync('docker', ['-H', peer.#host(node), 'info'], QUIET).status === 0;
        await timeUntil(performance.now(), () => Promise.resolve(answers()), `dockerd ${node} to answer`);
        peer.#docker(node, 'load', '-i', archive);
      }
      peer.#docker(0, 'swarm', 'init', '--advertise-addr', peer.#wire.address(0));
      const token = (role: string): string => peer.#docker(0, 'swarm', 'join-token', '-q', role).trim();
      for (let node = 1; node < NODES; node++) {
        const addresses = ['--advertise-addr', peer.#wire.address(node), `${peer.#wire.address(0)}:2377`];
        peer.#docker(node, 'swarm', 'join', '--token', token(node < MANAGERS ? 'manager' : 'worker'), ...addresses);
      }
      const ready = async (): Promise<boolean> =>
        (await peer.#nodes()).filter(({ Status }) => Status.State === 'ready').length === NODES;
      await timeUntil(performance.now(), ready, 'the nodes to be ready');
      return peer;
    } catch (error) {
      await peer.stop();
      throw error;
    }
  }

  async serve(replicas: number): Promise<void> {
    const flags = ['--detach', '--no-resolve-image', '--stop-grace-period', '0s', '--replicas', String(replicas)];
    this.#docker(0, 'service', 'create', '--name', 'bench', ...flags, 'busybox', 'sleep', '100000');
    await timeUntil(performance.now(), async () => (await this.#running('')) >= replicas, 'the service to run');
  }

  async lose(replicas: number): Promise<Loss> {
    const { Swarm } = (await this.#get('/info', VICTIM)) as { readonly Swarm: { readonly NodeID: string } };
    this.#powerOff(VICTIM);
    const since = performance.now();
    const isDown = async (): Promise<boolean> =>
      (await this.#nodes()).some(({ ID, Status }) => ID === Swarm.NodeID && Status.State === 'down');
    const down = await timeUntil(since, isDown, 'the node to be down');
    const isReplaced = async (): Promise<boolean> => (await this.#running(Swarm.NodeID)) >= replicas;
    return { down, replaced: await timeUntil(since, isReplaced, 'the containers to run elsewhere') };
  }

  async stop(): Promise<void> {
    for (let node = 0; node < VICTIM; node++)
      spawnSync('docker', ['-H', this.#host(node), 'swarm', 'leave', '--force'], QUIET);
    for (const daemon of this.#daemons) {
      if (daemon.exitCode !== null || daemon.signalCode !== null) continue;
      const ended = new Promise((resolve) => daemon.once('exit', resolve));
      daemon.kill('SIGTERM');
      const timer = setTimeout(() => daemon.kill('SIGKILL'), 20_000);
      await ended;
      clearTimeout(timer);
    }
    for (let node = 0; node < NODES; node++) this.#killContainers(node);
    spawnSync('sh', ['-c', `grep -o "${this.#dir}[^ ]*" /proc/mounts | sort -ru | xargs -r umount -l`], QUIET);
    this.#wire.remove();
    rmSync(this.#dir, { recursive: true, force: true });
    spawnSync('find', ['/sys/fs/cgroup', '-depth', '-type', 'd', '-path', `*/${this.#name}*`, '-delete'], QUIET);
  }

  /** Nobody hears of it any more, and nothing that ran on it does. */
  #powerOff(node: number): void {
    execFileSync('ip', ['-n', `${this.#name}sw`, 'link', 'set', `port${node}`, 'down']);
    const namespace = this.#wire.namespace(node);
    const pids = execFileSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).split('\n').filter(Boolean);
    for (const pid of pids) process.kill(Number(pid), 'SIGKILL');
    this.#killContainers(node);
  }

  #killContainers(node: number): void {
    const files = spawnSync('find', ['/sys/fs/cgroup', '-path', `*/${this.#name}${node}/*`, '-name', 'cgroup.procs'], {
      encoding: 'utf8',
      timeout: 30_000,
    }).stdout;
    const pids = new Set(files.split('\n').filter(Boolean).flatMap((file) => readFileSync(file, 'utf8').split('\n').filter(Boolean))); // prettier-ignore
    for (const pid of pids) spawnSync('kill', ['-9', pid], QUIET);
  }

  #startDaemon(node: number): void {
    const dir = join(this.#dir, String(node));
    const folders = ['--data-root', `${dir}/data`, '--exec-root', `${dir}/exec`, '-p', `${dir}/docker.pid`];
    const flags = [...folders, '-H', this.#host(node), '--cgroup-parent', `/${this.#name}${node}`];
    const namespace = `--net=/var/run/netns/${this.#wire.namespace(node)}`;
    this.#daemons.push(spawn('nsenter', [namespace, 'dockerd', ...flags], { stdio: 'ignore' }));
  }

  #host(node: number): string {
    return `unix://${this.#dir}/${node}.sock`;
  }

  #docker(node: number, ...args: readonly string[]): string {
    const argv = ['-H', this.#host(node), ...args];
    return execFileSync('docker', argv, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 });
  }

  async #nodes() {
    return (await this.#get('/nodes')) as readonly {
      readonly ID: string;
      readonly Status: { readonly State: string };
    }[];
  }

  /** Containers that run on other nodes than `besides`. */
  async #running(besides: string): Promise<number> {
    const tasks = (await this.#get('/tasks')) as readonly {
      readonly NodeID: string;
      readonly Status: { readonly State: string };
    }[];
    return tasks.filter(({ NodeID, Status }) => NodeID !== besides && Status.State === 'running').length;
  }

  #get(path: string, node = 0): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const socketPath = `${this.#dir}/${node}.sock`;
      const call = request({ socketPath, path: `/v1.41${path}`, timeout: 30_000 }, (answer) => {
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
