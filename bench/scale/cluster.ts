import { readFileSync } from 'node:fs';
import { isTsswarmError } from '../../base/errors.ts';
import { Lab } from '../../test/lab/lab.ts';
import type { ServiceClient } from '../../proto/rpc/client.ts';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { controlService, daemonService } from '../../proto/rpc/services.ts';
import type { Node, ServiceSpec } from '../../proto/types/index.ts';
import { project, serviceSpec, taskSpec } from '../../test/builders/specs.ts';

/** How often something is asked again. */
const TRIES = 10;

/** Three real managers, each a machine of a lab, that run nothing themselves. */
export class Cluster {
  readonly #lab = Lab.create('tsk', 3);
  readonly #dead = new Set<number>();

  constructor() {
    this.#lab.form(3);
    for (let index = 0; index < 3; index++)
      this.#lab.machine(0).ok('tsswarm', 'node', 'update', '--availability', 'drain', `m${index}`);
  }

  /** Namespace in which the managers are reached. */
  openSwitch(): string {
    return this.#lab.openSwitch().namespace;
  }

  get token(): string {
    return this.#lab.machine(0).ok('tsswarm', 'join-token', '-q', 'worker').trim();
  }

  get managers(): readonly string[] {
    return [0, 1, 2].map((index) => `${this.#lab.address(index)}:2377`);
  }

  /** The service shall have so many tasks. Resolves when that is stored. */
  async scale(replicas: number): Promise<void> {
    const service: ServiceSpec = serviceSpec('load', {
      replicas,
      task: taskSpec({ networkMode: 'none', networks: [] }),
    });
    await this.#control((control) =>
      control.applyProject({
        project: project([service], { networks: [] }),
        dryRun: false,
        removeOrphans: false,
        forceRecreate: [],
        onlyServices: [],
        noRecreate: false,
        noStart: false,
      }),
    );
  }

  async nodes(): Promise<readonly Node[]> {
    return (await this.#control((control) => control.listNodes({}))).nodes;
  }

  /** Index of the machine whose manager leads. */
  async leader(): Promise<number> {
    for (const index of this.#alive()) {
      const connection = connectLocal(this.#lab.machine(index).socket);
      try {
        if ((await connection.service(daemonService).status({})).raftState === 'leader') return index;
      } finally {
        connection.close();
      }
    }
    throw new Error('nobody leads');
  }

  async kill(index: number): Promise<void> {
    this.#dead.add(index);
    await this.#lab.kill(index);
  }

  /** MiB and seconds of CPU of each manager that is alive. */
  usage(): readonly { readonly rssMib: number; readonly cpuSeconds: number }[] {
    return this.#alive().map((index) => {
      const pid = this.#lab.machine(index).daemonPid() ?? 0;
      const rss = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [user, system] = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .slice(11, 13);
      return { rssMib: Number(rss) / 1024, cpuSeconds: (Number(user) + Number(system)) / 100 };
    });
  }

  stop(): void {
    this.#lab.dispose();
  }

  #alive(): readonly number[] {
    return [0, 1, 2].filter((index) => !this.#dead.has(index));
  }

  async #control<R>(ask: (control: ServiceClient<typeof controlService>) => Promise<R>): Promise<R> {
    for (let tries = 0; ; tries++) {
      const connection = connectLocal(this.#lab.machine(this.#alive()[0] ?? 0).socket);
      try {
        return await ask(connection.service(controlService));
      } catch (error) {
        // An election is under way; what is asked for can be asked twice.
        const passes = isTsswarmError(error) && (error.retryable || error.code === 'OUTCOME_UNKNOWN');
        if (!passes || tries === TRIES) throw error;
      } finally {
        connection.close();
      }
    }
  }
}
