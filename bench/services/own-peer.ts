import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Disk } from '../disk.ts';
import { Lab } from '../../test/lab/lab.ts';
import { memoryOf, middle, sum } from './memory.ts';
import type { Peer } from './peer.ts';

/** Three managers of ours, driven by the same commands as a user's. */
export class OwnPeer implements Peer {
  readonly #lab: Lab;
  #folder = '';

  private constructor(lab: Lab) {
    this.#lab = lab;
  }

  static start(disk?: Disk): OwnPeer {
    const lab = Lab.create('tsb', 3, (index) =>
      disk === undefined ? {} : { TSSWARM_RUN_DIR: disk.runDir(`own${index}`) },
    );
    const peer = new OwnPeer(lab);
    try {
      lab.form(3);
      for (const machine of lab.machines) machine.load(['busybox']);
      return peer;
    } catch (error) {
      lab.dispose();
      throw error;
    }
  }

  create(replicas: number, onFirst: boolean): Promise<number> {
    const machine = this.#lab.machine(0);
    const name = `bench${replicas}${onFirst ? 'first' : ''}`;
    this.#folder = join(machine.dir, name);
    if (!existsSync(this.#folder)) {
      const placement = onFirst ? ', placement: {constraints: [node.hostname==m0]}' : '';
      machine.project(name, {
        'compose.yaml': `services: {bench: {image: busybox, command: sleep 100000, deploy: {replicas: ${replicas}${placement}}}}`,
      });
    }
    const started = performance.now();
    // Returns when all of them run.
    machine.composeOk(this.#folder, 'up', '-d');
    return Promise.resolve(performance.now() - started);
  }

  remove(): Promise<void> {
    this.#lab.machine(0).composeOk(this.#folder, 'down', '-t', '0');
    return Promise.resolve();
  }

  memory(): ReturnType<Peer['memory']> {
    const { dir } = this.#lab.machine(0);
    const ours = (program: string) => (command: string) => command.includes(program) && command.includes(dir);
    return { daemons: sum(memoryOf(ours('tsswarmd/main'))), container: middle(memoryOf(ours('tsrun'))) };
  }

  stop(): Promise<void> {
    this.#lab.dispose();
    return Promise.resolve();
  }
}
