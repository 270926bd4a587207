import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { PackageFile } from './debian-packages.ts';
import type { Recipe } from './recipes.ts';

/** Documentation and caches that no container reads. */
const LEFT_OUT = [
  'usr/share/doc',
  'usr/share/man',
  'usr/share/info',
  'usr/share/locale',
  'usr/share/lintian',
  'usr/share/bug',
  'var/cache',
];
const MERGED = ['bin', 'sbin', 'lib', 'lib64'];

/** Unpacks package files into `root` without running their scripts, onto a merged /usr as Debian 12 has it. */
export function unpack(files: readonly PackageFile[], root: string): void {
  for (const name of MERGED) {
    mkdirSync(join(root, 'usr', name), { recursive: true });
    if (!existsSync(join(root, name))) symlinkSync(`usr/${name}`, join(root, name));
  }
  for (const { path } of files) {
    execFileSync('sh', [
      '-c',
      'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"',
      'sh',
      path,
      root,
    ]);
  }
  for (const folder of LEFT_OUT) rmSync(join(root, folder), { recursive: true, force: true });
}

/** What the packages' own install scripts would have done and containers need: users, a linker cache, the timezone. */
export function finishBase(root: string): void {
  for (const name of ['passwd', 'group']) {
    copyFileSync(join(root, `usr/share/base-passwd/${name}.master`), join(root, 'etc', name));
  }
  for (const folder of ['tmp', 'var/tmp']) {
    mkdirSync(join(root, folder), { recursive: true });
    chmodSync(join(root, folder), 0o1777);
  }
  mkdirSync(join(root, 'run/lock'), { recursive: true });
  for (const [link, target] of [
    ['var/run', '/run'],
    ['var/lock', '/run/lock'],
  ] as const) {
    // Some packages ship these as directories; their scripts, which do not run here, would turn them into links.
    rmSync(join(root, link), { recursive: true, force: true });
    symlinkSync(target, join(root, link));
  }
  mkdirSync(join(root, 'root'), { recursive: true, mode: 0o700 });
}

/** Puts the recipe's own files, links, users and directories on top. */
export function addRecipeFiles(recipe: Recipe, root: string, baseRoot: string | undefined, nodeBinary: string): void {
  if (recipe.users !== undefined) {
    mkdirSync(join(root, 'etc'), { recursive: true });
    for (const name of ['passwd', 'group']) {
      if (baseRoot !== undefined) copyFileSync(join(baseRoot, 'etc', name), join(root, 'etc', name));
    }
    for (const { name, id, home } of recipe.users) {
      appendFileSync(join(root, 'etc/passwd'), `${name}:x:${id}:${id}::${home}:/bin/sh\n`);
      appendFileSync(join(root, 'etc/group'), `${name}:x:${id}:\n`);
    }
  }
  for (const [path, { owner, mode }] of Object.entries(recipe.directories ?? {})) {
    const [uid = 0, gid = 0] = owner.split(':').map(Number);
    mkdirSync(join(root, path), { recursive: true });
    chownSync(join(root, path), uid, gid);
    chmodSync(join(root, path), mode);
  }
  for (const [path, { content, mode }] of Object.entries(recipe.files ?? {})) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
    chmodSync(join(root, path), mode ?? 0o644);
  }
  for (const [path, target] of Object.entries(recipe.links ?? {})) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    rmSync(join(root, path), { force: true });
    symlinkSync(target, join(root, path));
  }
  if (recipe.nodeRuntime === true) {
    mkdirSync(join(root, 'usr/local/bin'), { recursive: true });
    copyFileSync(nodeBinary, join(root, 'usr/local/bin/node'));
    chmodSync(join(root, 'usr/local/bin/node'), 0o755);
  }
  if (!recipe.base && existsSync(join(root, 'usr/bin/busybox'))) installApplets(root);
}

/** Links for every applet that the static busybox names. */
function installApplets(root: string): void {
  const binary = join(root, 'usr/bin/busybox');
  const applets = execFileSync(binary, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const applet of applets) {
    const link = join(root, 'usr/bin', applet);
    if (!existsSync(link)) symlinkSync('busybox', link);
  }
}
