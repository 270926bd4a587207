import { readFileSync, rmSync } from 'node:fs';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { EtcdAccess } from '../../proto/types/index.ts';
import { storeRequestPath } from '../local-node/store-access.ts';

/** The external store that `tsswarm init` has asked for; undefined: none, or it was taken already. @throws CORRUPT */
export function storeRequest(stateDir: string): EtcdAccess | undefined {
  const path = storeRequestPath(stateDir);
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as EtcdAccess;
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return undefined;
    throw new TsswarmError('CORRUPT', `reading "${path}": it is not what "tsswarm init" writes there`, {
      cause,
      hint: 'remove the file, and name the store again: tsswarm init --store etcd://…',
    });
  }
}

/** The manager keeps the way to its store itself now. */
export function storeRequestTaken(stateDir: string): void {
  rmSync(storeRequestPath(stateDir), { force: true });
}
