import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';

const DIRECTORIES = ['dev', 'etc', 'proc', 'sys'];
const FILES = ['etc/hostname', 'etc/hosts', 'etc/resolv.conf'];

/**
 * Makes what every container has something mounted on, and few images bring: a directory that lies beneath all layers of an image.
 * Without it the launcher makes seven files and directories in each container's own layer.
 * @param dir made if missing
 */
export function makeMountPoints(dir: string): void {
  mkdirSync(dir, { recursive: true });
  for (const name of DIRECTORIES) mkdirSync(join(dir, name), { recursive: true });
  for (const path of [dir, ...DIRECTORIES.map((name) => join(dir, name))]) chmodSync(path, 0o755);
  for (const name of FILES) {
    const path = join(dir, name);
    if (!existsSync(path)) closeSync(openSync(path, 'wx', 0o644));
    chmodSync(path, 0o644);
  }
}
