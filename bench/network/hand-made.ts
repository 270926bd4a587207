import { execFileSync, spawnSync } from 'node:child_process';
import type { Machine } from '../../test/e2e/machine.ts';
import type { Pair } from './load.ts';

const VNI = '77';
/** Not the port of the overlay that is measured beside it. */
const PORT = '4799';
const MTU = '1450';
const SUBNET = '10.79.0';

/** A namespace on each of two machines, on a bridge with a VXLAN device between them and entries made by hand: what the kernel can do. */
export class HandMadeOverlay {
  readonly pair: Pair;
  readonly #names: readonly string[];

  private constructor(names: readonly string[]) {
    this.#names = names;
    const [client = '', server = ''] = names;
    const namespace = (name: string): readonly string[] => [`--net=/var/run/netns/${name}`];
    this.pair = { client: namespace(client), server: namespace(server), address: `${SUBNET}.2` };
  }

  /** @param wire between the machines' own addresses */
  static between(
    machines: readonly [Machine, Machine],
    wire: { readonly addresses: readonly [string, string] },
  ): HandMadeOverlay {
    const made = new HandMadeOverlay(machines.map(({ name }) => `${name}hand`));
    try {
      machines.forEach((machine, index) => {
        const name = `${machine.name}hand`;
        const [local = '', remote = ''] = index === 0 ? wire.addresses : wire.addresses.toReversed();
        const here = (...argv: readonly string[]): void => ip('-n', machine.name, ...argv);
        ip('netns', 'add', name);
        here('link', 'add', 'handbr', 'type', 'bridge');
        const device = ['id', VNI, 'local', local, 'dstport', PORT, 'nolearning'];
        here('link', 'add', 'handvx', 'mtu', MTU, 'type', 'vxlan', ...device);
        here('link', 'add', 'handve', 'mtu', MTU, 'type', 'veth', 'peer', 'name', 'eth0', 'mtu', MTU, 'netns', name);
        for (const link of ['handvx', 'handve']) here('link', 'set', link, 'master', 'handbr', 'up');
        here('link', 'set', 'handbr', 'up');
        ip('-n', name, 'link', 'set', 'eth0', 'address', mac(index));
        ip('-n', name, 'address', 'add', `${SUBNET}.${index + 1}/24`, 'dev', 'eth0');
        ip('-n', name, 'link', 'set', 'eth0', 'up');
        ip(
          '-n',
          name,
          'neighbour',
          'add',
          `${SUBNET}.${2 - index}`,
          'lladdr',
          mac(1 - index),
          'dev',
          'eth0',
          'nud',
          'permanent',
        );
        machine.inside(['bridge', 'fdb', 'add', mac(1 - index), 'dev', 'handvx', 'dst', remote]);
      });
      return made;
    } catch (error) {
      made.remove();
      throw error;
    }
  }

  /** What is on the machines themselves goes with them. */
  remove(): void {
    for (const name of this.#names) {
      const machine = name.slice(0, -'hand'.length);
      for (const link of ['handvx', 'handve', 'handbr'])
        spawnSync('ip', ['-n', machine, 'link', 'delete', link], { stdio: 'ignore' });
      spawnSync('ip', ['netns', 'delete', name], { stdio: 'ignore' });
    }
  }
}

const mac = (index: number): string => `02:42:0a:4f:00:0${index + 1}`;

function ip(...argv: readonly string[]): void {
  execFileSync('ip', argv, { stdio: ['ignore', 'ignore', 'inherit'] });
}
