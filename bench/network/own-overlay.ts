import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Lab } from '../../test/lab/lab.ts';
import type { Machine } from '../../test/e2e/machine.ts';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { controlService } from '../../proto/rpc/services.ts';
import { PUBLISHED_PORT } from './load.ts';
import type { Namespace, Pair } from './load.ts';
import type { Started } from './names.ts';

/** Without a check a container serves when its ports are listened to: that of iperf3 is only while it is measured. */
const HEALTHY = '{test: [CMD, "true"], interval: 60s, start_interval: 100ms, start_period: 60s}';

/** Two nodes of ours, a client on the first and a web server on the second. */
export class OwnOverlay {
  readonly machines: readonly [Machine, Machine];
  readonly wire: Pair & { readonly addresses: readonly [string, string] };
  readonly #lab: Lab;
  #overlay: Pair | undefined;
  #virtualAddress = '';
  #folder = '';
  #fresh = 0;

  private constructor(lab: Lab) {
    this.#lab = lab;
    this.machines = [lab.machine(0), lab.machine(1)];
    const addresses = [lab.address(0), lab.address(1)] as const;
    const [client, server] = this.machines.map(({ name }): Namespace => [`--net=/var/run/netns/${name}`]);
    this.wire = { client: client ?? [], server: server ?? [], address: addresses[1], addresses };
  }

  static start(): OwnOverlay {
    const lab = Lab.create('tsw', 2);
    const made = new OwnOverlay(lab);
    try {
      for (const [index, machine] of lab.machines.entries())
        machine.inside(['ip', 'address', 'add', `${relayedAddress(index)}/64`, 'dev', 'wire', 'nodad']);
      lab.form(1);
      for (const machine of lab.machines) machine.load(['busybox', 'nginx']);
      made.#up();
      return made;
    } catch (error) {
      lab.dispose();
      throw error;
    }
  }

  get overlay(): Pair {
    if (this.#overlay === undefined) throw new Error('the project is not up');
    return this.#overlay;
  }

  get virtualAddress(): string {
    return this.#virtualAddress;
  }

  /** From the first machine to the published port of the container on the second. */
  get published(): Pair {
    return { ...this.wire, server: this.overlay.server, port: PUBLISHED_PORT };
  }

  /** The same over IPv6, which the container does not have: tsrelay is in between. */
  get relayed(): Pair {
    return { ...this.published, address: relayedAddress(1) };
  }

  /** Process of the daemon on the client's machine. */
  get daemon(): number {
    return this.machines[0].daemonPid() ?? 0;
  }

  /** Starts one more task of the service "fresh" on the second machine. */
  async startFresh(): Promise<Started> {
    const [first] = this.machines;
    this.#fresh++;
    first.composeOk(this.#folder, 'scale', `fresh=${this.#fresh}`);
    const connection = connectLocal(first.socket);
    try {
      const { services, tasks } = await connection.service(controlService).listObjects({ project: 'bench' });
      const id = services.find(({ spec }) => spec.composeName === 'fresh')?.id;
      const task = tasks.find(({ serviceId, slot }) => serviceId === id && slot === this.#fresh);
      const [address] = task?.addresses ?? [];
      if (task?.status.state !== 'running' || address === undefined) throw new Error('the task does not run');
      return { address: address.ipv4, at: task.status.timestamp };
    } finally {
      connection.close();
    }
  }

  stop(): void {
    this.#lab.dispose();
  }

  #up(): void {
    const [first, second] = this.machines;
    const on = (node: string): string => `deploy: {placement: {constraints: [node.hostname==${node}]}}`;
    this.#folder = first.project('bench', {
      'compose.yaml': `services:
  client: {image: busybox, command: sleep 100000, ${on('m0')}}
  server: {image: nginx, ports: ["80:80", "${PUBLISHED_PORT}:${PUBLISHED_PORT}"], healthcheck: ${HEALTHY}, ${on('m1')}}
  fresh: {image: busybox, init: true, command: sleep 100000, stop_grace_period: 0s, deploy: {replicas: 0, placement: {constraints: [node.hostname==m1]}}}
`,
    });
    first.composeOk(this.#folder, 'up', '-d', '--wait');
    const client = namespaceOf(first);
    const server = namespaceOf(second);
    const look = (name: string): string =>
      first
        .composeOk(this.#folder, 'exec', '-T', 'client', 'nslookup', name)
        .split('Name:')[1]
        ?.match(/\d+\.\d+\.\d+\.\d+/)?.[0] ?? '';
    this.#virtualAddress = look('server');
    this.#overlay = { client, server, address: look('tasks.server') };
  }
}

const relayedAddress = (index: number): string => `fd66::${index + 1}`;

/** Of the one container on a machine. */
function namespaceOf(machine: Machine): Namespace {
  const folder = join(machine.dir, 'run', 'engine', 'netns');
  const [name, ...more] = readdirSync(folder);
  if (name === undefined || more.length > 0) throw new Error(`${folder} does not hold one container`);
  return [`--net=${join(folder, name)}`];
}
