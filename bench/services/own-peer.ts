import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { controlService } from '../../proto/rpc/services.ts';
import type { Task } from '../../proto/types/index.ts';
import { Lab } from '../../test/lab/lab.ts';
import type { Disk } from '../disk.ts';
import { memoryOf, middle, sum } from './memory.ts';
import { IMAGE, PROJECT, until } from './peer.ts';
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

  async createByFlags(): Promise<number> {
    const { ms } = await this.#watched(async (tasks) => {
      const started = performance.now();
      this.#run('tsswarm', 'service', 'create', '-d', '--name', 'flags', '--stop-grace-period', '0s', ...IMAGE);
      await until(async () => (await tasks()).some(({ status }) => status.state === 'running'), 'the container to run');
      return { ms: performance.now() - started };
    });
    return ms;
  }

  async removeByFlags(): Promise<void> {
    await this.#watched(async (tasks) => {
      this.#run('tsswarm', 'service', 'rm', 'flags');
      await until(async () => (await tasks()).length === 0, 'the container to be gone');
    });
  }

  deploy(): Promise<number> {
    const machine = this.#lab.machine(0);
    const folder = join(machine.dir, 'deployed');
    if (!existsSync(folder)) machine.project('deployed', { 'compose.yaml': PROJECT });
    const started = performance.now();
    // Returns when it runs.
    this.#run('tscompose', '--project-directory', folder, 'up', '-d');
    return Promise.resolve(performance.now() - started);
  }

  removeDeployed(): Promise<void> {
    this.#run('tscompose', '--project-directory', join(this.#lab.machine(0).dir, 'deployed'), 'down', '-t', '0');
    return Promise.resolve();
  }

  /** Does what looks at all tasks over the node's socket. */
  async #watched<T>(work: (tasks: () => Promise<readonly Task[]>) => Promise<T>): Promise<T> {
    const connection = connectLocal(this.#lab.machine(0).socket);
    try {
      await connection.ready();
      const control = connection.service(controlService);
      return await work(async () => (await control.listObjects({ project: '' })).tasks);
    } finally {
      connection.close();
    }
  }

  /** As Docker's client is run: the node is found by its socket, without a program that enters its namespace first. */
  #run(...argv: readonly string[]): void {
    const { code, stdout, stderr } = this.#lab.machine(0).runWith({ inNamespace: false }, ...argv);
    assert.equal(code, 0, `${argv.join(' ')} ended with ${code}\n${stdout}${stderr}`);
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
