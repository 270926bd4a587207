import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import type { Order, Standing } from './messages.ts';

/** The agents, in a process of their own in a network namespace. */
export class Fleet {
  readonly #process: ChildProcess;
  #standing: Standing | undefined;
  #ended = false;
  readonly #listeners = new Set<() => void>();

  constructor(namespace: string) {
    const program = [process.execPath, '--max-old-space-size=8192', join(import.meta.dirname, 'agents.ts')];
    const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const;
    // A thousand machines have processors of their own: here the managers' work goes first.
    const argv = ['-n', '5', 'nsenter', `--net=/var/run/netns/${namespace}`, ...program];
    this.#process = spawn('nice', argv, { stdio: [...stdio] });
    this.#process.on('message', (standing: Standing) => {
      this.#standing = standing;
      for (const listener of this.#listeners) listener();
    });
    this.#process.on('exit', () => {
      this.#ended = true;
      for (const listener of this.#listeners) listener();
    });
  }

  get standing(): Standing {
    if (this.#standing === undefined) throw new Error('the agents have not said anything yet');
    return this.#standing;
  }

  order(order: Order): void {
    this.#process.send(order);
  }

  /** Resolves with ms from now on when `fits` says so of what the agents say. */
  until(fits: (standing: Standing) => boolean, what: string, patienceMs: number): Promise<number> {
    const began = performance.now();
    return new Promise((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#listeners.delete(look);
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(`${what}: not within ${patienceMs} ms: ${JSON.stringify({ ...this.#standing, silent: [] })}`));
      }, patienceMs);
      const look = (): void => {
        if (this.#ended) {
          done();
          return reject(new Error(`${what}: the process of the agents has ended`));
        }
        if (this.#standing === undefined || !fits(this.#standing)) return;
        done();
        resolve(performance.now() - began);
      };
      this.#listeners.add(look);
    });
  }

  stop(): void {
    if (!this.#ended) this.#process.kill('SIGKILL');
  }
}
