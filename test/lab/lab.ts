import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Machine, eventually } from '../e2e/machine.ts';

type Environment = (index: number) => NodeJS.ProcessEnv;

/** Addresses on the wire: IPv4 ones, or IPv6 ones only. */
type Family = 4 | 6;

/**
 * Machines on one wire: each a network namespace with a card, all on a bridge in a namespace of its own, so that nothing of the
 * lab touches the network of the machine that it runs on.
 */
export class Lab {
  readonly machines: readonly Machine[];
  readonly #switch: string;

  readonly #family: Family;

  private constructor(name: string, count: number, environment: Environment, family: Family) {
    this.#family = family;
    this.#switch = `${name}sw`;
    ip('netns', 'add', this.#switch);
    ip('-n', this.#switch, 'link', 'add', 'bridge', 'type', 'bridge');
    ip('-n', this.#switch, 'link', 'set', 'bridge', 'up');
    this.machines = Array.from({ length: count }, (_, index) => {
      const machine = Machine.bare(`${name}m${index}`, environment(index));
      const peer = ['peer', 'name', port(index), 'netns', this.#switch];
      ip('-n', machine.name, 'link', 'add', 'wire', 'type', 'veth', ...peer);
      ip('-n', this.#switch, 'link', 'set', port(index), 'master', 'bridge', 'up');
      const address = family === 4 ? [`${this.address(index)}/24`] : [`${this.address(index)}/64`, 'nodad'];
      ip('-n', machine.name, 'address', 'add', ...address, 'dev', 'wire');
      ip('-n', machine.name, 'link', 'set', 'wire', 'up');
      return machine;
    });
  }

  /** @param environment what the programs of a machine are started with */
  static create(name: string, count: number, environment: Environment = () => ({})): Lab {
    return new Lab(`${name}${process.pid}`, count, environment, 4);
  }

  /** The same on a wire that carries IPv6 alone. */
  static createIpv6(name: string, count: number): Lab {
    return new Lab(`${name}${process.pid}`, count, () => ({}), 6);
  }

  /** @throws RangeError */
  machine(index: number): Machine {
    const found = this.machines[index];
    if (found === undefined) throw new RangeError(`the lab has no machine ${index}`);
    return found;
  }

  address(index: number): string {
    return this.#family === 4 ? `10.77.0.${index + 1}` : `fd77::${index + 1}`;
  }

  /** Namespace of the wire itself, with an address on it: what is no machine of the cluster runs there. */
  openSwitch(): { readonly namespace: string; readonly host: string } {
    const host = '10.77.0.200';
    ip('-n', this.#switch, 'link', 'set', 'lo', 'up');
    ip('-n', this.#switch, 'address', 'add', `${host}/24`, 'dev', 'bridge');
    return { namespace: this.#switch, host };
  }

  /**
   * Begins a cluster on the first machine; the next `managers - 1` join as managers, the others up to `members` as workers.
   * @param flags for `init`
   * @param joinFlags for `join`
   */
  form(
    managers: number,
    members = this.machines.length,
    flags: readonly string[] = [],
    joinFlags: readonly string[] = [],
  ): void {
    this.machine(0).ok('tsswarm', 'init', ...this.#named(0), ...flags);
    const token = (role: string): string => this.machine(0).ok('tsswarm', 'join-token', '-q', role).trim();
    const tokens = { manager: token('manager'), worker: token('worker') };
    for (let index = 1; index < members; index++)
      this.join(index, index < managers ? tokens.manager : tokens.worker, 0, joinFlags);
  }

  join(index: number, token: string, via = 0, flags: readonly string[] = []): void {
    this.machine(index).ok('tsswarm', 'join', '--token', token, ...this.#named(index), ...flags, this.address(via));
  }

  #named(index: number): readonly string[] {
    return ['--no-systemd', '--node-name', `m${index}`, '--advertise-addr', this.address(index)];
  }

  /** kill -9 of a daemon; resolves when it is gone. Nothing happens where none runs. */
  async kill(index: number): Promise<void> {
    const pid = this.machine(index).daemonPid();
    if (pid === undefined) return;
    process.kill(pid, 'SIGKILL');
    await eventually(() => (hasEnded(pid) ? true : undefined), `the end of the daemon of machine ${index}`);
  }

  /** Switches a machine off: nobody hears of it any more, and nothing that ran on it does. `heal` and `start` switch it on. */
  async powerOff(index: number): Promise<void> {
    this.cut(index);
    // A container goes with its supervisor.
    const pids = this.machine(index).pids();
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    await eventually(() => (pids.every(hasEnded) ? true : undefined), `the end of machine ${index}`);
  }

  /** Starts the daemon of a machine that is a member, unless it runs. */
  start(index: number): void {
    if (this.machine(index).daemonPid() === undefined) this.machine(index).ok('tsswarm', 'init', '--no-systemd');
  }

  /** Unplugs a machine. */
  cut(index: number): void {
    ip('-n', this.#switch, 'link', 'set', port(index), 'down');
  }

  /** Plugs it in again, and takes away what `drop` does. */
  heal(index: number): void {
    ip('-n', this.#switch, 'link', 'set', port(index), 'up');
    this.machine(index).run('nft', 'delete', 'table', 'ip', 'lab');
  }

  /**
   * Loses packets of a machine.
   * @param direction "input": it hears less; "output": it is heard less
   * @param percent of all packets on the wire
   */
  drop(index: number, direction: 'input' | 'output', percent: number): void {
    const device = direction === 'input' ? 'iifname' : 'oifname';
    const rules = `table ip lab {
      chain ${direction} {
        type filter hook ${direction} priority 0
        ${device} "wire" numgen random mod 1000 < ${percent * 10 - 1} drop
      }
    }
`;
    const { code, stderr } = this.machine(index).runWith({ input: rules }, 'nft', '-f', '-');
    if (code !== 0) throw new Error(`dropping packets: ${stderr}`);
  }

  /** Takes everything away. @throws when a machine leaves something behind */
  dispose(): void {
    const failures: unknown[] = [];
    // Managers last, the first of them at the very end: the others say goodbye to it.
    for (const machine of this.machines.toReversed()) {
      try {
        machine.dispose();
      } catch (error) {
        failures.push(error);
      }
    }
    ip('netns', 'delete', this.#switch);
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('\n'));
  }
}

const port = (index: number): string => `port${index}`;

function ip(...argv: readonly string[]): void {
  execFileSync('ip', argv, { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** A killed process is a zombie until somebody reaps it; its other threads may take a moment longer. */
function hasEnded(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return true;
  }
}
