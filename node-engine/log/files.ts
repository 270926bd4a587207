import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';
import { errnoOf } from '../../base/errors.ts';

/** One of the files of a rotated log. */
export interface LogFile {
  readonly handle: FileHandle;
  readonly inode: bigint;
}

/** Opens a file; undefined when it does not exist. */
export async function openLogFile(path: string): Promise<LogFile | undefined> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const { ino } = await handle.stat({ bigint: true });
  return { handle, inode: ino };
}

/**
 * The files of a log as they are now, oldest first: `path.2`, `path.1`, `path`. A rotation while they are being opened can
 * neither show one twice (files are told by inode) nor lose one (the newest is opened first, and files only grow older).
 */
export async function openLogFiles(path: string): Promise<LogFile[]> {
  const files: LogFile[] = [];
  for (let number = 0; ; number++) {
    const file = await openLogFile(number === 0 ? path : `${path}.${number}`);
    if (file === undefined) {
      // Between the renames of a rotation the first place is empty for a moment; the newest file is the second then.
      if (number === 0) continue;
      return files.reverse();
    }
    if (files.some(({ inode }) => inode === file.inode)) await file.handle.close();
    else files.push(file);
  }
}

const CHUNK = 64 * 1024;
const NEWLINE = 10;

/**
 * The offset in a file from where `count` lines follow.
 * @param end where to look backwards from
 * @returns the offset, and how many of the lines are before the file's beginning
 */
export async function offsetOfTail(
  { handle }: LogFile,
  end: number,
  count: number,
): Promise<{ readonly offset: number; readonly missing: number }> {
  const buffer = Buffer.allocUnsafe(CHUNK);
  // Each whole line has one; what follows the last is not finished and does not count.
  let newlines = 0;
  for (let at = end; at > 0;) {
    const from = Math.max(0, at - CHUNK);
    const { bytesRead } = await handle.read(buffer, 0, at - from, from);
    for (let index = bytesRead - 1; index >= 0; index--) {
      if (buffer[index] === NEWLINE && ++newlines > count) return { offset: from + index + 1, missing: 0 };
    }
    at = from;
  }
  return { offset: 0, missing: count - newlines };
}

/** Takes the whole lines of a file from an offset on, in batches. */
export class LineReader {
  readonly file: LogFile;
  #offset: number;
  readonly #buffer = Buffer.allocUnsafe(CHUNK);
  #rest: Buffer = Buffer.alloc(0);

  constructor(file: LogFile, offset: number) {
    this.file = file;
    this.#offset = offset;
  }

  /** The next lines; undefined at the end of the file as it is now. A last line without its newline waits for it. */
  async next(): Promise<readonly string[] | undefined> {
    const { bytesRead } = await this.file.handle.read(this.#buffer, 0, CHUNK, this.#offset);
    if (bytesRead === 0) {
      const { size } = await this.file.handle.stat();
      if (size >= this.#offset) return undefined;
      // A log of one file is emptied when it is full.
      this.#offset = 0;
      this.#rest = Buffer.alloc(0);
      return [];
    }
    this.#offset += bytesRead;
    const bytes = Buffer.concat([this.#rest, this.#buffer.subarray(0, bytesRead)]);
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    this.#rest = bytes.subarray(end);
    return end === 0 ? [] : bytes.toString('utf8', 0, end - 1).split('\n');
  }
}
