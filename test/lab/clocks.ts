import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Debian's package "faketime": a library that answers for the clock, as far off as a file says at the moment. */
const LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1';

/** Where it keeps memory that the children of a process share with it, and its names for it: shm_overview(7), sem_overview(7). */
const SHARED = '/dev/shm';
const LEFT = /^(?:sem\.)?faketime_(?:shm|sem)_(\d+)$/;

/** The wall clocks of a lab's machines, which can be stepped while programs run; what they measure spans with goes on evenly. */
export class Clocks {
  readonly #dir = mkdtempSync(join(tmpdir(), 'tslab-clocks-'));
  readonly #bornAt = statSync(this.#dir).mtimeMs;

  /** @throws when the package "faketime" is not installed */
  constructor(machines: number) {
    if (!existsSync(LIBRARY)) throw new Error(`stepping clocks: "${LIBRARY}" is missing (apt-get install faketime)`);
    for (let index = 0; index < machines; index++) this.set(index, 0);
  }

  /** What a machine's programs are started with. */
  environment(index: number): NodeJS.ProcessEnv {
    return {
      LD_PRELOAD: LIBRARY,
      FAKETIME_TIMESTAMP_FILE: this.#path(index),
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    };
  }

  /** Steps a machine's clock. @param seconds off the real time; negative: behind it */
  set(index: number, seconds: number): void {
    writeFileSync(this.#path(index), `${seconds < 0 ? '' : '+'}${seconds}\n`);
  }

  /** Also of what the library has left in memory for processes that were killed. */
  dispose(): void {
    rmSync(this.#dir, { recursive: true });
    for (const name of readdirSync(SHARED)) {
      const pid = LEFT.exec(name)?.[1];
      if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
      const path = join(SHARED, name);
      const left = statSync(path, { throwIfNoEntry: false });
      if (left !== undefined && left.mtimeMs >= this.#bornAt) rmSync(path, { force: true });
    }
  }

  #path(index: number): string {
    return join(this.#dir, `m${index}`);
  }
}
