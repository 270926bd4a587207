import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import { demandNoOwnState } from './own-state.ts';

describe('settings of a cluster whose state is in an external store', () => {
  it('are refused where nobody would honour them, and say what there is instead', () => {
    for (const request of [
      { autoLock: true },
      { snapshotInterval: 100 },
      { maxSnapshots: 2 },
      { removeDeadManagersMs: 60_000 },
    ])
      assert.throws(
        () => demandNoOwnState(request),
        (error) => isTsswarmError(error, 'NOT_SUPPORTED') && error.hint !== undefined,
        JSON.stringify(request),
      );
  });

  it('are taken where they are about the cluster, or switch off what is not there', () => {
    demandNoOwnState({ taskHistoryLimit: 3, dispatcherHeartbeatMs: 1000, nodeCertExpiryMs: 1e9 });
    demandNoOwnState({ autoLock: false, removeDeadManagersMs: 0 });
  });
});
