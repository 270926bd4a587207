import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  rmSync,
  write as writeAt,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import type { Clock, Timer } from '../../../../base/clock.ts';
import { CONFIRMATION_BYTES, encodeConfirmation, encodeFrame, frameBytes, scanFrames } from './frame.ts';
import type { Frame } from './frame.ts';

/** Size of each of the two files: what the log's database takes over at once, and a start reads again. */
const FILE_BYTES = 512 * 1024;
/** How long a frame waits for one that takes its confirmation along, ms. */
const CONFIRM_AFTER_MS = 20;

/** One of the two files, written with zeros beforehand: a sync then has no sizes and no block lists to bring to disk. */
interface JournalFile {
  /** A write through this one is on disk when it is done (O_DSYNC, open(2)): one call, where a sync would be a second. */
  readonly synced: number;
  readonly unsynced: number;
}

/**
 * Two files that writes go to in turns, so that each is one sync of one place on the disk. What a file holds must be safe
 * elsewhere before it is used again.
 */
export class Journal {
  readonly #path: string;
  readonly #clock: Clock;
  readonly #share: () => number;
  /** The other file's turn begins when a frame would go beyond. */
  #limit: number;
  #files: readonly [JournalFile, JournalFile] | undefined;
  #current = 0;
  #at = 0;
  #number: number;
  /** Up to this number frames are confirmed, or their confirmation is on its way. */
  #confirmedNumber: number;
  #timer: Timer | undefined;
  /** Resolves when no confirmation is on its way by itself. */
  #confirmed: Promise<unknown> = Promise.resolve();

  /**
   * @param number of the last frame that was ever written, here or before
   * @param share of a file that is filled before the other one's turn, above 0 and at most 1; asked anew for each turn
   */
  constructor(path: string, number: number, clock: Clock, share: () => number = () => 1) {
    this.#path = path;
    this.#clock = clock;
    this.#share = share;
    this.#limit = FILE_BYTES * share();
    this.#number = this.#confirmedNumber = number;
  }

  /** Number of the last frame. */
  get number(): number {
    return this.#number;
  }

  /** Whether a frame of so many bytes fits into a file at all. */
  couldHold(contentBytes: number): boolean {
    return frameBytes(contentBytes) <= FILE_BYTES;
  }

  /** Whether it fits into the rest of the present file; the first frame of one may take all of it. */
  fits(contentBytes: number): boolean {
    const end = this.#at + frameBytes(contentBytes);
    return end <= FILE_BYTES && (this.#at === 0 || end <= this.#limit);
  }

  /** Goes on at the start of the other file: what is in there must not be needed any more. */
  swap(): void {
    this.#confirm();
    this.#current = 1 - this.#current;
    this.#at = 0;
    this.#limit = FILE_BYTES * this.#share();
  }

  /** Resolves when the content is on disk. It must fit, and one append must end before the next. */
  async append(parts: readonly Uint8Array[]): Promise<void> {
    this.#files ??= [create(`${this.#path}-0`), create(`${this.#path}-1`)];
    // One that was late would land in what is written over the frame that it confirms.
    if (this.#at === 0) await this.#confirmed;
    const { synced } = this.#files[this.#current as 0 | 1];
    const number = this.#number + 1;
    // The frame before is on disk, and its confirmation lies right before this one: it goes along.
    const room = this.#at === 0 ? 0 : CONFIRMATION_BYTES;
    const bytes = encodeFrame(number, parts, room);
    if (room > 0) encodeConfirmation(this.#number).copy(bytes);
    await write(synced, bytes, this.#at - room);
    this.#confirmedNumber = number - 1;
    this.#at += bytes.length - room;
    this.#number = number;
    this.#confirmSoon();
  }

  /** The last of several is confirmed when nothing has followed it for a while. */
  #confirmSoon(): void {
    if (this.#timer !== undefined) return;
    const number = this.#number;
    this.#timer = this.#clock.startTimer(CONFIRM_AFTER_MS, () => {
      this.#timer = undefined;
      if (this.#number === number) this.#confirm();
      else this.#confirmSoon();
    });
  }

  /** Confirms the last frame by itself. Nobody waits for this, and nothing is lost without it: see the frame's layout. */
  #confirm(): void {
    const file = this.#files?.[this.#current as 0 | 1];
    if (file === undefined || this.#at === 0 || this.#confirmedNumber === this.#number) return;
    this.#confirmedNumber = this.#number;
    const confirming = write(file.unsynced, encodeConfirmation(this.#number), this.#at - CONFIRMATION_BYTES);
    // Nothing of what has settled is kept: each result would hold the one before it, for ever.
    this.#confirmed = Promise.allSettled([this.#confirmed, confirming]).then(() => undefined);
  }

  /** Takes the files away: everything in them must be safe elsewhere. */
  async remove(): Promise<void> {
    await this.close();
    removeJournal(this.#path);
  }

  /** Lets go of the files. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#confirm();
    // The next file that is opened may get the same descriptors.
    await this.#confirmed;
    for (const { synced, unsynced } of this.#files ?? []) {
      closeSync(synced);
      closeSync(unsynced);
    }
    this.#files = undefined;
    this.#at = 0;
  }
}

export function removeJournal(path: string): void {
  for (const name of namesOf(path)) rmSync(name, { force: true });
}

/**
 * The frames of a journal in order, those after `after` without a gap.
 * @returns damaged: this frame was acknowledged and is not whole
 */
export function readJournal(path: string, after: number): { frames: readonly Frame[]; damaged?: number } {
  const scans = namesOf(path)
    .filter((name) => existsSync(name))
    .map((name) => scanFrames(readFileSync(name), after));
  const frames = scans
    .flatMap((scan) => scan.frames)
    .filter(({ number }) => number > after)
    .sort((a, b) => a.number - b.number);
  const gap = frames.findIndex(({ number }, place) => number !== after + 1 + place);
  const whole = gap < 0 ? frames : frames.slice(0, gap);
  const isDamaged = gap >= 0 || scans.some(({ damaged }) => damaged !== undefined && damaged > after + whole.length);
  return isDamaged ? { frames: whole, damaged: after + whole.length + 1 } : { frames: whole };
}

const namesOf = (path: string): readonly [string, string] => [`${path}-0`, `${path}-1`];

function create(name: string): JournalFile {
  const { O_RDWR, O_CREAT, O_TRUNC, O_DSYNC } = constants;
  const unsynced = openSync(name, O_RDWR | O_CREAT | O_TRUNC, 0o600);
  writeSync(unsynced, Buffer.alloc(FILE_BYTES));
  fsyncSync(unsynced);
  const folder = openSync(dirname(name), 'r');
  fsyncSync(folder);
  closeSync(folder);
  return { unsynced, synced: openSync(name, O_RDWR | O_DSYNC) };
}

/** Writes all of it. A short write means that the disk is full or failing: the next call says which. */
async function write(fd: number, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += await new Promise<number>((resolve, reject) => {
      writeAt(fd, bytes, done, bytes.length - done, position + done, (error, written) =>
        error === null ? resolve(written) : reject(error),
      );
    });
  }
}
