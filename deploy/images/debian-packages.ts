import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const DEB_LINE = /^'([^']+)' (\S+_\S+\.deb) (\d+)/;

/** One package file of a closure. */
export interface PackageFile {
  readonly name: string;
  readonly path: string;
}

/**
 * Downloads `packages` with everything they depend on, as if nothing were installed, into `cacheDir`.
 * Package files that are there already are not fetched again. Uses the machine's own apt sources.
 * @throws when apt cannot resolve or fetch them; its own message is kept
 */
export function downloadClosure(
  packages: readonly string[],
  cacheDir: string,
  without: readonly string[] = [],
): PackageFile[] {
  const state = join(cacheDir, 'apt-state');
  mkdirSync(join(cacheDir, 'partial'), { recursive: true });
  mkdirSync(state, { recursive: true });
  const status = join(state, 'status');
  if (!existsSync(status)) writeFileSync(status, '');
  const options = [
    '-qq',
    '-o',
    `Dir::State::status=${status}`,
    '-o',
    `Dir::State::extended_states=${join(state, 'extended')}`,
    '-o',
    `Dir::Cache::archives=${cacheDir}`,
    '-o',
    'Dir::Cache::pkgcache=',
    '-o',
    'Dir::Cache::srcpkgcache=',
    '-o',
    'APT::Install-Recommends=false',
    '-o',
    'Debug::NoLocking=true',
    '-o',
    'APT::Sandbox::User=root',
    '-o',
    'DPkg::Options::=--force-all',
  ];
  const run = (...extra: string[]): string =>
    execFileSync('apt-get', [...options, ...extra, 'install', '-y', ...packages], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 1 << 26,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
    });
  try {
    run('--download-only');
  } catch (cause) {
    const lines = String((cause as { stderr?: unknown }).stderr ?? '')
      .trim()
      .split('\n');
    throw new Error(
      `downloading ${packages.join(', ')}: ${lines[0] ?? ''}${lines.length > 1 ? ` (and ${lines.length - 1} more lines)` : ''}`,
      { cause },
    );
  }
  // With everything in the cache --print-uris prints nothing, so it is asked with an empty one.
  const wanted = execFileSync(
    'apt-get',
    [...options, '-o', `Dir::Cache::archives=${join(state, 'none')}`, '--print-uris', 'install', '-y', ...packages],
    { encoding: 'utf8', maxBuffer: 1 << 26, env: { ...process.env, LC_ALL: 'C' } },
  );
  const files: PackageFile[] = [];
  for (const line of wanted.split('\n')) {
    const file = DEB_LINE.exec(line)?.[2];
    if (file === undefined) continue;
    const name = file.split('_')[0] ?? file;
    if (!without.includes(name)) files.push({ name, path: join(cacheDir, file) });
  }
  return files;
}
