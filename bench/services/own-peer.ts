import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { connectLocal } from '../../proto/rpc/local/client.ts';
import { controlService } from '../../proto/rpc/services.ts';
import type { ServiceClient } from '../../proto/rpc/client.ts';
import { Lab } from '../../test/lab/lab.ts';
import type { Disk } from '../disk.ts';
import { memoryOf, middle, sum } from './memory.ts';
import { IMAGE, PATIENCE_MS, PROJECT, until } from './peer.ts';
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

  createByFlags(): Promise<number> {
    return this.#watching(async (control) => {
      const stop = new AbortController();
      const running = (async (): Promise<number> => {
        for await (const { tasks } of control.watchProject({ project: '' }, stop.signal))
          if (tasks.some(({ status }) => status.state === 'running')) break;
        return performance.now();
      })();
      // It is waited for once the command has succeeded; what is wrong with that is said first.
      running.catch(() => undefined);
      const started = performance.now();
      const argv = ['service', 'create', '-d', '--name', 'flags', '--stop-grace-period', '0s', ...IMAGE];
      let timer: NodeJS.Timeout | undefined;
      try {
        await this.#started('tsswarm', ...argv);
        timer = setTimeout(() => stop.abort(new Error('the container does not run')), PATIENCE_MS);
        return (await running) - started;
      } finally {
        clearTimeout(timer);
        stop.abort();
      }
    });
  }

  removeByFlags(): Promise<void> {
    return this.#watching(async (control) => {
      this.#run('tsswarm', 'service', 'rm', 'flags');
      const gone = async (): Promise<boolean> => (await control.listObjects({ project: '' })).tasks.length === 0;
      await until(gone, 'the container to be gone');
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

  async #watching<T>(work: (control: ServiceClient<typeof controlService>) => Promise<T>): Promise<T> {
    const connection = connectLocal(this.#lab.machine(0).socket);
    try {
      await connection.ready();
      return await work(connection.service(controlService));
    } finally {
      connection.close();
    }
  }

  /** Starts a command, and goes on while it runs: what it does is seen before it has ended. */
  async #started(...argv: readonly string[]): Promise<void> {
    const child = this.#lab.machine(0).startOutside(...argv);
    const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
    assert.equal(code, 0, `${argv.join(' ')} ended with ${code}`);
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
