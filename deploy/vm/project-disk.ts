import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { makeDisk } from './root.ts';

/** What the disk holds beside the project. */
export interface DiskContent {
  /** Names of image archives below .cache/images. */
  readonly archives: readonly string[];
  /** Which suites the guest shall run; none: all. */
  readonly suites: readonly string[];
  /** The commands are compiled for it: from sources they start slowly under emulation. */
  readonly commands: boolean;
  /** Only tests whose title matches; empty: all. */
  readonly grep: string;
}

/**
 * A disk with the project's packages, below `cacheDir`. Made once for each state of package-lock.json.
 * @returns its path
 */
export function makeModulesDisk(project: string, cacheDir: string): string {
  const image = join(cacheDir, 'modules.img');
  const stampPath = join(cacheDir, 'modules.stamp');
  const stamp = createHash('sha256')
    .update(readFileSync(join(project, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stampPath) && readFileSync(stampPath, 'utf8') === stamp) return image;
  rmSync(stampPath, { force: true });
  makeDisk(realpathSync(join(project, 'node_modules')), image, '1G', 'modules');
  writeFileSync(stampPath, stamp);
  return image;
}

/**
 * A disk with the project as it is in `project` (also what is not committed), its native build and image archives. Its packages are on a
 * disk of their own.
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
    if (content.commands) compileCommands(project, work);
    mkdirSync(join(work, 'node_modules'));
    copy(join(project, 'node-engine/native/build'), join(work, 'node-engine/native/build'));
    mkdirSync(join(work, '.cache/images'), { recursive: true });
    for (const name of content.archives)
      copyFileSync(join(project, '.cache/images', `${name}.tar`), join(work, '.cache/images', `${name}.tar`));
    writeFileSync(join(work, '.cache/vm-suites'), content.suites.join(' '));
    writeFileSync(join(work, '.cache/vm-grep'), content.grep);
    makeDisk(work, image, '2G', 'project');
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** In the copy: what the developer has compiled, or not, stays as it is. */
function compileCommands(project: string, work: string): void {
  const modules = join(work, 'node_modules');
  symlinkSync(realpathSync(join(project, 'node_modules')), modules);
  execFileSync('npm', ['run', '--silent', 'build:ts'], { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] });
  rmSync(modules);
}

function copy(from: string, to: string): void {
  execFileSync('cp', ['-a', realpathSync(from), to]);
}
