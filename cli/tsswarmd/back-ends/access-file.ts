import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError } from '../../../base/errors.ts';
import type { EtcdAccess } from '../../../proto/types/index.ts';

const pathIn = (dir: string): string => join(dir, 'etcd.json');

/** Whether the manager in `dir` keeps its state in an external etcd. */
export const isOnEtcd = (dir: string): boolean => existsSync(pathIn(dir));

/** The way to etcd that a manager keeps; undefined: it is on Raft, or new. @throws CORRUPT */
export function loadAccess(dir: string): EtcdAccess | undefined {
  if (!isOnEtcd(dir)) return undefined;
  try {
    return JSON.parse(readFileSync(pathIn(dir), 'utf8')) as EtcdAccess;
  } catch (cause) {
    throw new TsswarmError('CORRUPT', `reading "${pathIn(dir)}": it is not what a manager writes there`, {
      cause,
      hint: 'name the store again: tsswarm init --store etcd://…',
    });
  }
}

/** On disk when it returns, readable for root only: a password may be in it. */
export function saveAccess(dir: string, access: EtcdAccess): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = pathIn(dir);
  const file = openSync(`${path}.new`, 'w', 0o600);
  try {
    writeSync(file, `${JSON.stringify(access)}\n`);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(`${path}.new`, path);
}
