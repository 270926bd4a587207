import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeDisk } from './root.ts';

/** What the disk holds beside the project. */
export interface DiskContent {
  /** Names of image archives below .cache/images. */
  readonly archives: readonly string[];
  /** Which suites the guest shall run; none: all. */
  readonly suites: readonly string[];
}

/**
 * A disk with the project as it is in `project` (also what is not committed), its packages, its native build and image archives.
 * @throws when an archive or the native build is missing
 */
export function makeProjectDisk(project: string, image: string, content: DiskContent): void {
  const work = mkdtempSync(`${image}-`);
  try {
    const files = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: project,
    });
    const existing = files
      .toString()
      .split('\0')
      .filter((name) => name !== '' && name !== 'node_modules' && existsSync(join(project, name)));
    const packed = execFileSync('tar', ['-c', '--null', '-T', '-'], {
      cwd: project,
      input: existing.join('\0'),
      maxBuffer: 1 << 28,
    });
    execFileSync('tar', ['-x', '--no-same-owner', '-C', work], { input: packed });
    copy(join(project, 'node_modules'), join(work, 'node_modules'));
    copy(join(project, 'node-engine/native/build'), join(work, 'node-engine/native/build'));
    mkdirSync(join(work, '.cache/images'), { recursive: true });
    for (const name of content.archives)
      copyFileSync(join(project, '.cache/images', `${name}.tar`), join(work, '.cache/images', `${name}.tar`));
    writeFileSync(join(work, '.cache/vm-suites'), content.suites.join(' '));
    makeDisk(work, image, '3G', 'project');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function copy(from: string, to: string): void {
  execFileSync('cp', ['-a', realpathSync(from), to]);
}
