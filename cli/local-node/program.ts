import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Root of the package: where package.json lies, above the sources as well as above dist/. */
export const PACKAGE_ROOT = findRoot(import.meta.dirname);
export const DAEMON_PROGRAM = join(PACKAGE_ROOT, 'bin/tsswarmd');
/** The launcher, which also packs and unpacks files. */
export const LAUNCHER_PROGRAM = join(PACKAGE_ROOT, 'node-engine/native/build/tsrun');
export const UNIT_TEMPLATE = join(PACKAGE_ROOT, 'deploy/systemd/tsswarm.service');

/** Exit code of a daemon whose state another one has open: EX_TEMPFAIL of sysexits(3). */
export const EXIT_IN_USE = 75;

function findRoot(from: string): string {
  for (let folder = from; folder !== '/'; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
  }
  throw new Error(`no package.json above "${from}"`);
}
