import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isTsswarmError } from '../../../base/errors.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import type { UpdateClusterRequest } from '../../../proto/types/index.ts';
import { caCluster } from '../../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../../test/builders/ca-cluster.ts';
import { clusterOf, withoutKeys } from '../../ca/cluster.ts';
import { dekDisk, keyIdOf, newUnlockKey, openVault, parseUnlockKey } from '../../raft/seal/index.ts';
import type { Vault } from '../../raft/seal/index.ts';
import { followAutolock } from './loop.ts';
import { unlockKeyOf, withAutolock } from './settings.ts';

describe('autolock of a cluster', () => {
  let cluster: CaCluster;
  beforeEach(async () => {
    cluster = await caCluster();
  });
  afterEach(() => cluster.close());
  const aKey = (): string => newUnlockKey(systemRandom);
  const ask = (request: UpdateClusterRequest): Promise<void> =>
    cluster.store.update((tx) => tx.update('cluster', withAutolock(clusterOf(tx), request, systemRandom)));

  it('makes a key when it is switched on, keeps it, replaces it, and forgets it', async () => {
    assert.throws(
      () => unlockKeyOf(cluster.cluster()),
      (error) => isTsswarmError(error, 'NOT_FOUND'),
    );
    await assert.rejects(ask({ unlockKey: aKey() }), (error) => isTsswarmError(error, 'INVALID_INPUT'));
    await ask({ autoLock: true });
    const first = unlockKeyOf(cluster.cluster());
    await ask({ autoLock: true });
    await ask({ taskHistoryLimit: 3 });
    assert.equal(unlockKeyOf(cluster.cluster()), first);
    const second = aKey();
    await ask({ unlockKey: second });
    assert.equal(unlockKeyOf(cluster.cluster()), second);
    await assert.rejects(ask({ unlockKey: 'abc' }), (error) => isTsswarmError(error, 'INVALID_INPUT'));
    assert.equal(withoutKeys(cluster.cluster()).unlockKey, undefined, 'the key is not shown with the cluster');
    await ask({ autoLock: false });
    assert.deepEqual([cluster.cluster().unlockKey, cluster.cluster().spec.autoLock], [undefined, undefined]);
  });

  describe('on a manager', () => {
    let dir: string;
    let life: AbortController;
    let running: Promise<void>;
    let resealed: string[];
    beforeEach(() => {
      dir = mkdtempSync(join(tmpdir(), 'tsswarm-autolock-'));
      life = new AbortController();
      running = Promise.resolve();
      resealed = [];
    });
    afterEach(async () => {
      life.abort();
      await running;
      rmSync(dir, { recursive: true });
    });
    const disk = () => dekDisk(join(dir, 'dek.json'), systemRandom);
    const follow = (vault: Vault): void => {
      const reseal = (): Promise<void> => {
        resealed.push(vault.keyId);
        return Promise.resolve();
      };
      running = followAutolock(
        { store: cluster.store, vault, reseal, clock: cluster.clock, logger: silentLogger },
        life.signal,
      );
    };
    const kek = (): Uint8Array => parseUnlockKey(unlockKeyOf(cluster.cluster()));
    const turns = async (): Promise<void> => {
      for (let i = 0; i < 20; i++) await Promise.resolve();
    };

    it('locks the keys, makes new ones, seals everything with them, and forgets the old', async () => {
      const vault = openVault(disk(), undefined, systemRandom);
      const before = vault.keyId;
      follow(vault);
      await turns();
      assert.deepEqual([disk().lock(), resealed], [undefined, []]);
      await ask({ autoLock: true });
      await turns();
      assert.equal(disk().lock(), keyIdOf(kek()));
      assert.notEqual(vault.keyId, before);
      assert.deepEqual([resealed, vault.hasOldKeys], [[vault.keyId], false]);
      assert.equal(disk().load(kek()).keys.length, 1);
      await ask({ taskHistoryLimit: 4 });
      await turns();
      assert.equal(resealed.length, 1, 'nothing else of the cluster matters');
      await ask({ autoLock: false });
      await turns();
      assert.deepEqual([disk().lock(), resealed.length], [undefined, 2]);
    });

    it('does not go back to a key of the past that a start replays', async () => {
      await ask({ autoLock: true });
      const vault = openVault(disk(), undefined, systemRandom);
      const later = cluster.cluster().meta.version + 5;
      vault.relock(undefined, later);
      vault.dropOldKeys();
      follow(vault);
      await turns();
      assert.equal(disk().lock(), undefined);
      for (let i = 0; i < 5; i++) await ask({ unlockKey: aKey() });
      await turns();
      assert.equal(disk().lock(), undefined, 'all of them are older');
      await ask({ unlockKey: aKey() });
      await turns();
      assert.equal(disk().lock(), keyIdOf(kek()));
    });

    it('finishes what a crash has left: old keys stay until everything is sealed with the new one', async () => {
      await ask({ autoLock: true });
      openVault(disk(), undefined, systemRandom).relock(kek(), cluster.cluster().meta.version);
      const vault = openVault(disk(), kek(), systemRandom);
      assert.ok(vault.hasOldKeys);
      follow(vault);
      await turns();
      assert.deepEqual([resealed, vault.hasOldKeys], [[vault.keyId], false]);
    });
  });
});
