import { TsswarmError } from '../../base/errors.ts';
import type { UpdateClusterRequest } from '../../proto/types/index.ts';

/** Settings that are about what managers keep on their own disks and decide among themselves, and what to do without. */
const OWN: readonly (readonly [keyof UpdateClusterRequest, string, string])[] = [
  [
    'autoLock',
    '--autolock',
    'autolock seals what managers have on their own disks; protect the store by its own means',
  ],
  ['unlockKey', 'an unlock key', 'autolock seals what managers have on their own disks; there is none here'],
  ['snapshotInterval', '--snapshot-interval', 'etcd has its own: its option --snapshot-count'],
  ['maxSnapshots', '--max-snapshots', 'etcd has its own: its option --max-snapshots'],
  [
    'removeDeadManagersMs',
    '--remove-dead-managers',
    'any one manager is enough here, dead ones do no harm; to take one out: tsswarm node rm --force',
  ],
];

/**
 * Looks whether a cluster whose state is in an external store can honour what is asked for.
 * @throws NOT_SUPPORTED for what only managers can that keep the state themselves
 */
export function demandNoOwnState(request: UpdateClusterRequest): void {
  for (const [setting, option, hint] of OWN) {
    const value = request[setting];
    if (value === undefined || value === false || value === 0) continue;
    throw new TsswarmError('NOT_SUPPORTED', `using ${option}: the state of this cluster is in an external store`, {
      hint,
    });
  }
}
