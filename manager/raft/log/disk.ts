import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { open } from 'lmdb';
import type { RootDatabase } from 'lmdb';
import type { Clock } from '../../../base/clock.ts';
import { TsswarmError, messageOf } from '../../../base/errors.ts';
import type { Random } from '../../../base/random.ts';
import type { Sealer } from '../seal/sealer.ts';
import { checkEntry, corrupt, decodeEntry, encodeEntry, isSealed, keyOfEntry } from './entry.ts';
import { decodeBatch, encodeBatch } from './journal/batch.ts';
import type { JournalBatch } from './journal/batch.ts';
import { Journal, readJournal, removeJournal } from './journal/disk.ts';
import { Overlay } from './journal/overlay.ts';
import type { HardState, SealedLogStore } from './types.ts';

/** LMDB maps this much address space; the file grows only as far as it is used. */
const MAP_BYTES = 8 * 2 ** 30;
/** Entries sealed anew before others get their turn. */
const RESEALED_AT_ONCE = 128;
const LOG_FILE = 'log.mdb';
/**
 * All members of a group write the same, so that their journal files would be full at the same moment, and all their disks busy with
 * LMDB at once. Each draws how much of a file it fills, down to 1 less this: then a majority is there that has nothing else to do.
 */
const FILL_SPREAD = 0.4;

/**
 * Opens the log in `dir` as {@link openLog} does, and first writes it anew where entries lie there in the clear: in place
 * LMDB would leave their bytes in pages that it does not use any more.
 */
export async function openSealedLog(
  dir: string,
  clock: Clock,
  sealer: Sealer,
  random: Random,
): Promise<SealedLogStore> {
  const share = (): number => 1 - FILL_SPREAD * random.next();
  const log = openLog(dir, clock, sealer, LOG_FILE, share);
  if (!log.hasPlainEntries) return log;
  const name = `${LOG_FILE}.sealed`;
  // What a crash has left of the same before.
  rmSync(`${dir}/${name}`, { force: true });
  removeJournal(`${dir}/${name}-journal`);
  const { hardState, firstIndex, lastIndex } = log;
  const copy = openLog(dir, clock, sealer, name);
  await copy.reset(firstIndex - 1);
  await copy.write({ hardState, entries: [...log.read(firstIndex, lastIndex)] });
  await copy.close();
  await log.close();
  renameSync(`${dir}/${name}`, `${dir}/${LOG_FILE}`);
  rmSync(`${dir}/${name}-lock`, { force: true });
  const folder = openSync(dir, 'r');
  fsyncSync(folder);
  closeSync(folder);
  return openLog(dir, clock, sealer, LOG_FILE, share);
}

/**
 * Opens the log in `dir`, checking every entry's checksum (LMDB has none of its own) and that no index is missing.
 *
 * Entries live in LMDB. A commit there takes two syncs and several turns of the event loop, so each write first goes to a
 * journal beside it with one sync, which is what its caller waits for; LMDB takes over what a journal file holds when it is
 * full, all at once. What a start finds in the journal goes to LMDB first.
 * @param sealer seals entries; absent: they are written as they are, and sealed ones cannot be read
 * @param share of a journal file that is filled before LMDB takes it over ({@link Journal}); absent: all of it
 * @throws CORRUPT with the file and what to do
 */
export function openLog(
  dir: string,
  clock: Clock,
  sealer?: Sealer,
  name = LOG_FILE,
  share?: () => number,
): SealedLogStore {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = `${dir}/${name}`;
  let root: RootDatabase;
  try {
    // Without overlapping sync a transaction's promise resolves only after its pages and the meta page are synced.
    root = open({ path, noSubdir: true, maxDbs: 4, mapSize: MAP_BYTES, overlappingSync: false });
  } catch (cause) {
    throw new TsswarmError('CORRUPT', `opening the log "${path}": ${messageOf(cause)}`, { cause });
  }
  const entries = root.openDB<Buffer, number>({ name: 'entries', encoding: 'binary', keyEncoding: 'uint32' });
  const stable = root.openDB<string, string>({ name: 'stable', encoding: 'json' } as never);
  const stored = (key: string): unknown => stable.get(key);

  /** To be called in a transaction: what journalled writes up to that number come to. */
  const take = (overlay: Overlay, number: number): void => {
    const { hardState: state, truncateFrom } = overlay;
    if (state !== undefined) void stable.put('hard-state', state as never);
    if (truncateFrom !== undefined)
      for (const key of entries.getKeys({ start: truncateFrom })) void entries.remove(key);
    for (const [index, bytes] of overlay.entries) void entries.put(index, bytes as Buffer);
    void stable.put('journal', number as never);
  };

  const journalPath = `${path}-journal`;
  const number = (stored('journal') as number | undefined) ?? 0;
  const { frames, damaged } = readJournal(journalPath, number);
  let pending = new Overlay();
  for (const { content } of frames) pending.apply(decodeBatch(content));
  const journal = new Journal(journalPath, number + frames.length, clock, share);
  if (damaged === undefined) {
    try {
      if (frames.length > 0) root.transactionSync(() => take(pending, journal.number));
    } catch (cause) {
      throw failed('opening', path, cause);
    }
    pending = new Overlay();
    removeJournal(journalPath);
  }

  let hardState: HardState = (stored('hard-state') as HardState | undefined) ?? { term: 0, votedFor: '' };
  let lastIndex = (stored('truncated') as number | undefined) ?? 0;
  let firstIndex = lastIndex + 1;
  let hasPlainEntries = false;
  for (const { key, value } of entries.getRange({})) {
    if (key !== lastIndex + 1) throw corrupt(path, `entry ${lastIndex + 1} is missing`);
    checkEntry(key, value, path);
    if (!isSealed(value)) hasPlainEntries = true;
    lastIndex = key;
  }
  if (damaged !== undefined) {
    const last = Math.max(lastIndex, ...pending.entries.keys());
    throw corrupt(journalPath, `entry ${last + 1}, or the vote that was written with it, fails its checksum`);
  }

  /** What LMDB is taking over at the moment. */
  let taking: Overlay | undefined;
  let takingOver: Promise<void> = Promise.resolve();
  let failure: { readonly cause: unknown } | undefined;
  /** LMDB begins to take over what the present journal file holds; the other one is free then. */
  const takeOver = (): void => {
    const overlay = pending;
    taking = overlay;
    pending = new Overlay();
    journal.swap();
    const upTo = journal.number;
    takingOver = (async () => {
      try {
        await root.transaction(() => take(overlay, upTo));
        await root.flushed;
        taking = undefined;
      } catch (cause) {
        // They reject too, and nobody else listens.
        for (const end of [root.committed, root.flushed]) Promise.resolve(end).catch(() => undefined);
        failure = { cause: failed('writing', path, await reasonOf(cause)) };
      }
    })();
  };
  const takenOver = async (): Promise<void> => {
    await takingOver;
    if (failure !== undefined) throw failure.cause;
  };
  /** Everything is in LMDB when this resolves. */
  const drain = async (): Promise<void> => {
    await takenOver();
    takeOver();
    await takenOver();
  };
  const journalled = async (batch: JournalBatch): Promise<void> => {
    if (failure !== undefined) throw failure.cause;
    const parts = encodeBatch(batch);
    const bytes = parts.reduce((sum, part) => sum + part.length, 0);
    if (!journal.couldHold(bytes)) {
      await drain();
      pending.apply(batch);
      return drain();
    }
    if (!journal.fits(bytes)) {
      await takenOver();
      takeOver();
    }
    await journal.append(parts);
    pending.apply(batch);
  };

  return {
    hasPlainEntries: hasPlainEntries && sealer !== undefined,
    get hardState() {
      return hardState;
    },
    get firstIndex() {
      return firstIndex;
    },
    get lastIndex() {
      return lastIndex;
    },
    async write({ hardState: state, truncateFrom, entries: batch }) {
      await journalled({
        ...(state === undefined ? {} : { hardState: { term: state.term, votedFor: state.votedFor } }),
        ...(truncateFrom === undefined ? {} : { truncateFrom }),
        entries: batch.map((entry) => [entry.index, encodeEntry(entry, sealer)]),
      });
      if (state !== undefined) hardState = { term: state.term, votedFor: state.votedFor };
      if (truncateFrom !== undefined) lastIndex = Math.min(lastIndex, truncateFrom - 1);
      lastIndex = batch.at(-1)?.index ?? lastIndex;
    },
    *read(from, to) {
      for (let index = Math.max(from, firstIndex); index <= Math.min(to, lastIndex); index++) {
        const bytes = pending.entries.get(index) ?? taking?.entries.get(index) ?? entries.get(index);
        if (bytes === undefined) throw corrupt(path, `entry ${index} is missing`);
        yield decodeEntry(index, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), path, sealer);
      }
    },
    async truncatePrefix(index) {
      await drain();
      await root.transaction(() => {
        void stable.put('truncated', index as never);
        for (const key of entries.getKeys({ end: index + 1 })) void entries.remove(key);
      });
      await root.flushed;
      firstIndex = index + 1;
    },
    async reset(index) {
      await drain();
      await root.transaction(() => {
        void stable.put('truncated', index as never);
        for (const key of entries.getKeys({})) void entries.remove(key);
      });
      await root.flushed;
      firstIndex = index + 1;
      lastIndex = index;
    },
    async reseal() {
      if (sealer === undefined) return;
      await drain();
      for (let from = firstIndex; from <= lastIndex; from += RESEALED_AT_ONCE) {
        const older = [...entries.getRange({ start: from, end: from + RESEALED_AT_ONCE })].filter(
          ({ value }) => keyOfEntry(value) !== sealer.keyId,
        );
        await root.transaction(() => {
          for (const { key, value } of older)
            void entries.put(key, encodeEntry(decodeEntry(key, value, path, sealer), sealer));
        });
      }
      await root.flushed;
    },
    async close() {
      // Where the disk failed, the journal stays: it has what LMDB has not.
      const drained = await drain().then(
        () => true,
        () => false,
      );
      await (drained ? journal.remove() : journal.close());
      await root.close();
    },
  };
}

/** What LMDB says of a commit that failed is behind a promise. */
async function reasonOf(cause: unknown): Promise<unknown> {
  const { commitError } = cause as { commitError?: Promise<never> };
  return commitError === undefined ? cause : commitError.catch((reason: unknown) => reason);
}

/** Nothing that was promised is lost with it: the journal has what LMDB has not. */
function failed(action: string, path: string, cause: unknown): TsswarmError {
  const reason = messageOf(cause);
  return new TsswarmError(
    /no space/i.test(reason) ? 'DISK_FULL' : 'INTERNAL',
    `${action} the log "${path}": ${reason}`,
    {
      cause,
      hint: 'nothing is lost: make room on the disk, or see to it, and start the node again',
    },
  );
}
