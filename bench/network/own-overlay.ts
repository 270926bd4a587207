import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Lab } from '../../test/lab/lab.ts';
import type { Machine } from '../../test/e2e/machine.ts';
import type { Namespace, Pair } from './load.ts';

/** Two nodes of ours, a client on the first and a web server on the second. */
export class OwnOverlay {
  readonly machines: readonly [Machine, Machine];
  readonly wire: Pair & { readonly addresses: readonly [string, string] };
  readonly #lab: Lab;
  #overlay: Pair | undefined;
  #virtualAddress = '';

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

  stop(): void {
    this.#lab.dispose();
  }

  #up(): void {
    const [first, second] = this.machines;
    const on = (node: string): string => `deploy: {placement: {constraints: [node.hostname==${node}]}}`;
    const folder = first.project('bench', {
      'compose.yaml': `services:
  client: {image: busybox, command: sleep 100000, ${on('m0')}}
  server: {image: nginx, ${on('m1')}}
`,
    });
    first.composeOk(folder, 'up', '-d', '--wait');
    const client = namespaceOf(first);
    const server = namespaceOf(second);
    const look = (name: string): string =>
      first
        .composeOk(folder, 'exec', '-T', 'client', 'nslookup', name)
        .split('Name:')[1]
        ?.match(/\d+\.\d+\.\d+\.\d+/)?.[0] ?? '';
    this.#virtualAddress = look('server');
    this.#overlay = { client, server, address: look('tasks.server') };
  }
}

/** Of the one container on a machine. */
function namespaceOf(machine: Machine): Namespace {
  const folder = join(machine.dir, 'run', 'engine', 'netns');
  const [name, ...more] = readdirSync(folder);
  if (name === undefined || more.length > 0) throw new Error(`${folder} does not hold one container`);
  return [`--net=${join(folder, name)}`];
}
