import { TsswarmError } from '../../../base/errors.ts';
import type { Random } from '../../../base/random.ts';
import type { Cluster, UpdateClusterRequest } from '../../../proto/types/index.ts';
import { newUnlockKey, parseUnlockKey } from '../../raft/seal/index.ts';

/**
 * The cluster with autolock switched on or off, or its unlock key replaced, as it is asked for.
 * @throws INVALID_INPUT when a key is to be replaced and there is none, or what is given is none
 */
export function withAutolock(cluster: Cluster, { autoLock, unlockKey }: UpdateClusterRequest, random: Random): Cluster {
  const { unlockKey: before, ...rest } = cluster;
  const { autoLock: wasOn, ...spec } = cluster.spec;
  if (autoLock === false) return { ...rest, spec };
  if (autoLock !== true && wasOn !== true) {
    if (unlockKey === undefined) return cluster;
    throw new TsswarmError('INVALID_INPUT', 'replacing the unlock key: there is none, autolock is off', {
      hint: 'switch it on: tsswarm update --autolock=true',
    });
  }
  if (unlockKey !== undefined) parseUnlockKey(unlockKey);
  return { ...rest, spec: { ...spec, autoLock: true }, unlockKey: unlockKey?.trim() ?? before ?? newUnlockKey(random) };
}

/** @throws NOT_FOUND when autolock is off */
export function unlockKeyOf({ unlockKey }: Cluster): string {
  if (unlockKey !== undefined) return unlockKey;
  throw new TsswarmError('NOT_FOUND', 'reading the unlock key: there is none, autolock is off', {
    hint: 'switch it on: tsswarm update --autolock=true',
  });
}
