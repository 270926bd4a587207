import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';

/** The node's id, made at the first start and kept in the state directory. */
export function nodeIdentity(stateDir: string, random: Random): NodeId {
  mkdirSync(stateDir, { recursive: true, mode: 0o711 });
  const path = join(stateDir, 'node-id');
  try {
    const id = readFileSync(path, 'utf8').trim();
    if (/^[0-9a-z]{25}$/.test(id)) return id as NodeId;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
  const id = newId<NodeId>(random);
  writeFileSync(`${path}.new`, `${id}\n`, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
  return id;
}
