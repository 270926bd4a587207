import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Of the sparse file: what is written takes room, no more. */
const BYTES = 8 * 2 ** 30;

/**
 * A file system as Debian's installer makes it, ext4 with a journal, for the folders of both peers; what a machine keeps in memory, as its
 * /run, is in memory here. Machines made for tests may have an ext4 without a journal, and that looks, whenever it makes a file, at each one
 * that was removed within the last minutes (find_inode_bit() in fs/ext4/ialloc.c): a round would pay for what the one before has removed.
 */
export class Disk {
  readonly #folder = mkdtempSync(join(tmpdir(), 'tsd-'));
  readonly #memory = mkdtempSync('/dev/shm/tsd-');
  readonly #tmpdir = process.env['TMPDIR'];

  private constructor() {}

  /** Temporary folders are made on it from now on. @throws where it cannot be made: needs root, loop devices and mkfs.ext4(8) */
  static create(): Disk {
    const disk = new Disk();
    process.once('exit', () => disk.remove());
    const [image, mounted] = [join(disk.#folder, 'image'), join(disk.#folder, 'd')];
    mkdirSync(mounted);
    writeFileSync(image, '');
    truncateSync(image, BYTES);
    execFileSync('mkfs.ext4', ['-q', image], { stdio: ['ignore', 'ignore', 'inherit'] });
    execFileSync('mount', ['-o', 'loop', image, mounted], { stdio: ['ignore', 'ignore', 'inherit'] });
    process.env['TMPDIR'] = mounted;
    return disk;
  }

  /** A folder in memory. */
  runDir(name: string): string {
    const folder = join(this.#memory, name);
    mkdirSync(folder, { recursive: true });
    return folder;
  }

  /** Twice is no harm. */
  remove(): void {
    if (this.#tmpdir === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = this.#tmpdir;
    spawnSync('umount', [join(this.#folder, 'd')], { stdio: 'ignore' });
    for (const folder of [this.#folder, this.#memory]) rmSync(folder, { recursive: true, force: true });
  }
}
