import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Machine } from '../../test/e2e/machine.ts';
import { median } from './measure.ts';
import { rssOf } from './memory.ts';

/** A node of ours, driven by the same commands as a user's. */
export class OwnPeer {
  /** In memory, as /run is on a real machine. */
  readonly #runDir = mkdtempSync('/dev/shm/tsbench-own-');
  readonly #machine = this.#start();
  readonly #job = this.#machine.project('job', {
    'compose.yaml': 'services: {job: {image: busybox, command: "true", scale: 0}}',
  });

  /** `tscompose run --rm` of a program that ends at once, in ms. */
  runOnce(): number {
    return this.#timed(this.#job, 'run', '--rm', '-T', 'job', 'true');
  }

  /** `tscompose up -d` of a service with `replicas` tasks, until all run, in ms. */
  up(replicas: number): number {
    return this.#timed(this.#folder(replicas), 'up', '-d');
  }

  /** How long a command takes, ms; typed beside the node's namespace, as Docker's is. */
  #timed(cwd: string, ...argv: readonly string[]): number {
    const started = performance.now();
    const { code, stderr } = this.#machine.runWith({ cwd, inNamespace: false }, 'tscompose', ...argv);
    const ms = performance.now() - started;
    if (code !== 0) throw new Error(`tscompose ${argv.join(' ')} ended with ${code}\n${stderr}`);
    return ms;
  }

  down(replicas: number): void {
    this.#machine.composeOk(this.#folder(replicas), 'down', '-t', '0');
  }

  /** Bytes: per container (its supervisor, median), and of the daemon. */
  memory(): { readonly perContainer: number; readonly daemons: number } {
    const supervisors = rssOf((command) => command.includes('tsrun') && command.includes(this.#machine.dir));
    const daemons = rssOf((command) => command.includes('tsswarmd/main') && command.includes(this.#machine.dir));
    return { perContainer: median(supervisors), daemons: daemons.reduce((a, b) => a + b, 0) };
  }

  stop(): void {
    this.#machine.dispose();
    rmSync(this.#runDir, { recursive: true, force: true });
  }

  #start(): Machine {
    const machine = Machine.bare(`tsbench${process.pid}o`, { TSSWARM_RUN_DIR: this.#runDir });
    machine.ok('tsswarm', 'init', '--no-systemd');
    machine.load(['busybox']);
    return machine;
  }

  #folder(replicas: number): string {
    const folder = join(this.#machine.dir, `bench${replicas}`);
    if (existsSync(folder)) return folder;
    return this.#machine.project(`bench${replicas}`, {
      'compose.yaml': `services: {bench: {image: busybox, command: sleep 100000, deploy: {replicas: ${replicas}}}}`,
    });
  }
}
