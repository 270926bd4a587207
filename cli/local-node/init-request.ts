import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError, errnoOf } from '../../base/errors.ts';
import type { ClusterSettings } from '../../manager/cluster/spec.ts';
import type { FoundingCa } from '../../manager/ca/founding.ts';
import type { NodeAvailability } from '../../proto/types/index.ts';

/** What `tsswarm init` leaves for the daemon that it starts, where the new cluster is to be other than usual. */
export interface InitRequest {
  readonly settings: ClusterSettings;
  /** Of this node. */
  readonly availability?: NodeAvailability;
  /** UDP port of overlay networks. */
  readonly dataPathPort?: number;
  /** Subnets of networks are cut from these; absent: the default pools. */
  readonly addressPools?: readonly string[];
  /** Prefix length of the subnets that are cut; absent: 24. */
  readonly addressPoolPrefix?: number;
  /** Who signs in place of the managers, from the first certificate on. */
  readonly externalCas?: readonly FoundingCa[];
}

export const initRequestPath = (stateDir: string): string => join(stateDir, 'init.json');

/** Nothing is asked for where there is no request. @throws CORRUPT */
export function readInitRequest(stateDir: string): InitRequest {
  const path = initRequestPath(stateDir);
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as InitRequest;
  } catch (cause) {
    if (errnoOf(cause) === 'ENOENT') return { settings: {} };
    throw new TsswarmError('CORRUPT', `reading "${path}": it is not what "tsswarm init" writes there`, {
      cause,
      hint: 'remove the file, and init again',
    });
  }
}
