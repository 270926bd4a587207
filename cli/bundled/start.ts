/**
 * What a built command begins with. V8 compiles a function when it is first called: of what is compiled ahead of time, as by Node's own
 * cache, a command uses little, and what it uses was compiled in every run. This runs the bundle with the functions that were compiled
 * when the same command ended last time.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Script } from 'node:vm';

/** What the bundler fills in. */
declare const PROGRAM: string;
/** Name of the file, which is of its content: V8 tells texts apart by their lengths alone. */
declare const BUNDLE: string;
/** The text begins with so many characters that are no part of the program: it is one function. */
declare const WRAPPED: number;

/** Each has a file of its own, with what it needs: one of all of them would be read at every start. */
const COMMANDS = (
  'up down ps logs exec run start stop restart kill pull build config convert images ls diff history rollback scale wait port top ' +
  'init join leave status nodes node service stack network secret image join-token rebalance'
).split(' ');

const file = join(import.meta.dirname, BUNDLE);
const command = process.argv.find((word, index) => index > 1 && COMMANDS.includes(word)) ?? 'other';
const folder = join(import.meta.dirname, '..', '..', '.cache', 'compile', PROGRAM, command);
const cache = join(folder, `${BUNDLE}.bin`);
const cachedData = readWhole(cache);
// It is ASCII alone: the bundler sees to it.
const script = new Script(readFileSync(file, 'latin1'), {
  filename: file,
  columnOffset: -WRAPPED,
  ...(cachedData === undefined ? {} : { cachedData }),
});
if (cachedData === undefined || script.cachedDataRejected === true) process.once('exit', keep);
const module = { exports: {} };
const run = script.runInThisContext() as (...values: readonly unknown[]) => void;
run(module.exports, createRequire(file), module, file, import.meta.dirname);

/** Of a command that did what it was asked to: one that failed early has compiled little of it. */
function keep(code: number): void {
  if (code !== 0) return;
  try {
    mkdirSync(folder, { recursive: true });
    const own = `${cache}.${process.pid}`;
    const open = openSync(own, 'w', 0o644);
    const code = script.createCachedData();
    for (const copy of [code, code]) writeSync(open, copy);
    fsyncSync(open);
    closeSync(open);
    renameSync(own, cache);
    // Of builds before this one.
    for (const name of readdirSync(folder))
      if (!name.startsWith(BUNDLE)) rmSync(join(folder, name), { recursive: true, force: true });
  } catch {
    // Who may not write there starts as well, only later.
  }
}

/**
 * V8 believes what it is given, and ends the process where it is damaged. The file has everything twice: comparing is what needs no module
 * to be loaded (2 ms for a checksum) and nothing to be computed.
 */
function readWhole(path: string): Buffer | undefined {
  try {
    const bytes = readFileSync(path);
    const code = bytes.subarray(0, bytes.length >> 1);
    return code.equals(bytes.subarray(code.length)) ? code : undefined;
  } catch {
    return undefined;
  }
}
