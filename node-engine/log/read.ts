import type { FSWatcher } from 'node:fs';
import { existsSync, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { errnoOf } from '../../base/errors.ts';
import type { LogQuery, LogRecord } from '../types.ts';
import type { LogFile } from './files.ts';
import { LineReader, offsetOfTail, openLogFiles } from './files.ts';
import { parseRecord } from './record.ts';

/**
 * The records of a json-file log and its rotated files, oldest first.
 * @param ended resolves when nothing more will be written: a follower reads to the end and stops
 * @throws the signal's reason, when it aborts
 */
export async function* readLog(
  path: string,
  query: LogQuery,
  ended: Promise<unknown>,
  signal?: AbortSignal,
): AsyncGenerator<LogRecord> {
  signal?.throwIfAborted();
  const changes = query.follow ? new Changes(path, ended, signal) : undefined;
  let files: LogFile[] = [];
  try {
    while (changes && !existsSync(path)) if (!(await changes.next())) break;
    if (!existsSync(path)) return;
    files = await openLogFiles(path);
    const starts = await startsOf(files, query.tail);
    const wanted = bounds(query);
    for (;;) {
      const file = files[0];
      if (file === undefined) return;
      const reader = new LineReader(file, starts.get(file) ?? 0);
      const over = yield* readFile(reader, wanted, files.length === 1 ? changes : undefined, path, signal);
      if (over) return;
      const last = files.length === 1;
      await file.handle.close();
      files.shift();
      // The file was rotated away under a follower: go on with those that are newer.
      if (last && changes) files = await awaitNewer(path, file, changes);
    }
  } finally {
    changes?.close();
    await Promise.all(files.map(({ handle }) => handle.close()));
  }
}

/** Yields one file. @returns true when nothing more is to be read at all */
async function* readFile(
  reader: LineReader,
  wanted: Bounds,
  changes: Changes | undefined,
  path: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<LogRecord, boolean> {
  let last = false;
  for (;;) {
    // Noted before reading: what is written after a look that found nothing is found by the next one.
    const rotated = changes !== undefined && (await isRotated(path, reader.file));
    let lines: readonly string[] | undefined;
    while ((lines = await reader.next()) !== undefined) {
      signal?.throwIfAborted();
      for (const line of lines) {
        const record = parseRecord(line);
        if (record === undefined || record.timeNs < wanted.since) continue;
        if (record.timeNs > wanted.until) return true;
        yield record;
      }
    }
    if (changes === undefined || rotated) return false;
    if (last) return true;
    last = !(await changes.next());
    signal?.throwIfAborted();
  }
}

interface Bounds {
  readonly since: bigint;
  readonly until: bigint;
}

function bounds({ since, until }: LogQuery): Bounds {
  const ns = (ms: number): bigint => BigInt(Math.round(ms * 1000)) * 1000n;
  return { since: ns(since), until: until === 0 ? 2n ** 63n : ns(until) };
}

/** Where to begin in each file so that `tail` records follow in all; -1: at the beginning. */
async function startsOf(files: readonly LogFile[], tail: number): Promise<ReadonlyMap<LogFile, number>> {
  const starts = new Map<LogFile, number>();
  let missing = tail;
  for (const file of files.toReversed()) {
    if (tail < 0) break;
    const { size } = await file.handle.stat();
    const found = await offsetOfTail(file, size, missing);
    starts.set(file, found.offset);
    missing = found.missing;
  }
  return starts;
}

/** Whether the log goes on in another file. Between the renames of a rotation there is none at its path. */
async function isRotated(path: string, file: LogFile): Promise<boolean> {
  try {
    return (await stat(path, { bigint: true })).ino !== file.inode;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return true;
    throw error;
  }
}

/** {@link newerThan}, as soon as there are some; none at the end of the log. */
async function awaitNewer(path: string, file: LogFile, changes: Changes): Promise<LogFile[]> {
  for (let more = true; ; more = await changes.next()) {
    const files = await newerThan(path, file);
    if (files.length > 0 || !more) return files;
  }
}

/** The files that are newer than one, oldest first; all, when it is not among them any more. */
async function newerThan(path: string, file: LogFile): Promise<LogFile[]> {
  const files = await openLogFiles(path);
  const passed = files.splice(0, files.findIndex(({ inode }) => inode === file.inode) + 1);
  await Promise.all(passed.map(({ handle }) => handle.close()));
  return files;
}

/** Tells a follower when to look again. */
class Changes {
  readonly #watcher: FSWatcher;
  #changed = false;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(path: string, ended: Promise<unknown>, signal: AbortSignal | undefined) {
    const name = basename(path);
    this.#watcher = watch(dirname(path), (_event, file) => {
      if (file === null || file === name) this.#note();
    });
    // The folder was removed with its container: the end of the container tells that too.
    this.#watcher.on('error', () => this.#note());
    const end = (): void => {
      this.#ended = true;
      this.#note();
    };
    ended.then(end, end);
    signal?.addEventListener('abort', () => this.#note(), { once: true });
  }

  /** Resolves when there may be something new. @returns false when it is the last time */
  async next(): Promise<boolean> {
    if (!this.#changed) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#changed = this.#ended;
    return !this.#ended;
  }

  close(): void {
    this.#watcher.close();
  }

  #note(): void {
    this.#changed = true;
    this.#wake?.();
  }
}
