import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../base/clock.ts';
import { isTsswarmError } from '../../../base/errors.ts';
import type { NetworkId, ProjectId } from '../../../base/ids.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import { connectEtcd } from '../../../manager/store/etcd/client.ts';
import { openEtcdStore } from '../../../manager/store/etcd/store.ts';
import { memoryStore, openStore } from '../../../manager/store/index.ts';
import type { ResumableStore } from '../../../manager/store/index.ts';
import type { Network, Project } from '../../../proto/types/index.ts';
import { EtcdCluster } from '../../builders/etcd-cluster.ts';
import { networkSpec } from '../../builders/specs.ts';

const meta = { version: 0, createdAt: 0, updatedAt: 0 };
const project = (id: string, change: Partial<Project> = {}): Project => ({
  id: id as ProjectId,
  meta,
  name: id,
  revision: 1,
  hash: '',
  workingDir: '/',
  configFiles: [],
  ...change,
});
const network = (id: string, projectId: string): Network => ({
  id: id as NetworkId,
  meta,
  projectId: projectId as ProjectId,
  spec: networkSpec(id),
  subnet: '',
  gateway: '',
  pendingDelete: false,
});

interface Opened {
  readonly store: ResumableStore;
  close(): Promise<void>;
}

let etcd: Promise<EtcdCluster> | undefined;
let prefixes = 0;
after(async () => (await etcd)?.stop());

const implementations: Readonly<Record<string, () => Promise<Opened>>> = {
  'in memory': () => Promise.resolve({ store: memoryStore({ now: () => 1000 }), close: () => Promise.resolve() }),
  'on a one-member Raft': async () => {
    const dir = mkdtempSync(join(tmpdir(), 'tsswarm-store-'));
    const opened = await openStore({
      dir,
      id: 'a',
      clock: { ...systemClock, now: () => 1000 },
      random: systemRandom,
      logger: silentLogger,
      onFatal: (error) => {
        throw error;
      },
    });
    return {
      store: opened.store,
      close: async () => {
        await opened.close();
        rmSync(dir, { recursive: true });
      },
    };
  },
  'on three members of etcd': async () => {
    etcd ??= EtcdCluster.start(3);
    const clock = { ...systemClock, now: () => 1000 };
    const { store, leadership, close } = await openEtcdStore({
      client: connectEtcd({ endpoints: (await etcd).endpoints, clock: systemClock }),
      prefix: `/contract/${prefixes++}/`,
      id: 'a',
      address: '127.0.0.1:1',
      clock,
      random: systemRandom,
      logger: silentLogger,
    });
    await new Promise<void>((resolve) => {
      leadership.observe((event) => event.kind === 'leader' && event.isSelf && resolve());
      if (leadership.status().ready) resolve();
    });
    return { store, close };
  },
};

for (const [name, open] of Object.entries(implementations)) {
  describe(`a store ${name}`, () => {
    let opened: Opened;
    let store: ResumableStore;
    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(() => opened.close());

    it('commits all changes of a transaction together, stamped with its version and time', async () => {
      await store.update((tx) => {
        tx.create('project', project('p1'));
        tx.create('network', network('n1', 'p1'));
      });
      store.view((tx) => {
        const stored = tx.get('project', 'p1' as ProjectId);
        assert.equal(stored?.meta.version, tx.version);
        assert.deepEqual(stored.meta, { version: tx.version, createdAt: 1000, updatedAt: 1000 });
        assert.equal(tx.get('network', 'n1' as NetworkId)?.meta.version, tx.version);
      });
    });

    it('changes nothing when the writer throws', async () => {
      await assert.rejects(
        store.update((tx) => {
          tx.create('project', project('p1'));
          throw new Error('no');
        }),
        /no/,
      );
      assert.deepEqual(
        store.view((tx) => tx.list('project')),
        [],
      );
    });

    it('proposes nothing when nothing changes', async () => {
      await store.update((tx) => tx.create('project', project('p1')));
      const before = store.view((tx) => tx.version);
      assert.equal(await store.update(() => 7), 7);
      assert.equal(
        store.view((tx) => tx.version),
        before,
      );
    });

    it('shows a transaction its own writes', async () => {
      await store.update((tx) => {
        tx.create('network', network('n1', 'p1'));
        assert.equal(tx.find('network', 'project', 'p1').length, 1);
        tx.remove('network', 'n1' as NetworkId);
        assert.equal(tx.find('network', 'project', 'p1').length, 0);
        assert.equal(tx.get('network', 'n1' as NetworkId), undefined);
      });
    });

    it('keeps indexes true when the indexed field changes', async () => {
      await store.update((tx) => tx.create('network', network('n1', 'p1')));
      const stored = store.view((tx) => tx.get('network', 'n1' as NetworkId));
      assert.ok(stored);
      await store.update((tx) => tx.update('network', { ...stored, projectId: 'p2' as ProjectId }));
      store.view((tx) => {
        assert.deepEqual(tx.find('network', 'project', 'p1'), []);
        assert.equal(tx.find('network', 'project', 'p2').length, 1);
      });
    });

    it('refuses a stale update, an unknown object, a taken id and a taken name', async () => {
      await store.update((tx) => tx.create('project', project('p1')));
      const stale = store.view((tx) => tx.get('project', 'p1' as ProjectId));
      assert.ok(stale);
      await store.update((tx) => tx.update('project', { ...stale, revision: 2 }));
      const cases: [string, () => Promise<unknown>][] = [
        ['CONFLICT', () => store.update((tx) => tx.update('project', { ...stale, revision: 3 }))],
        ['NOT_FOUND', () => store.update((tx) => tx.update('project', project('p9')))],
        ['NOT_FOUND', () => store.update((tx) => tx.remove('project', 'p9' as ProjectId))],
        ['ALREADY_EXISTS', () => store.update((tx) => tx.create('project', project('p1', { name: 'other' })))],
        ['ALREADY_EXISTS', () => store.update((tx) => tx.create('project', project('p2', { name: 'p1' })))],
      ];
      for (const [code, act] of cases)
        await assert.rejects(act(), (error) => isTsswarmError(error, code as 'CONFLICT'), code);
      assert.equal(
        store.view((tx) => tx.get('project', 'p1' as ProjectId)?.revision),
        2,
      );
    });

    it('runs transactions one after another, each on top of the one before', async () => {
      await store.update((tx) => tx.create('project', project('p1', { revision: 0 })));
      await Promise.all(
        Array.from({ length: 50 }, () =>
          store.update((tx) => {
            const now = tx.get('project', 'p1' as ProjectId);
            if (now !== undefined) tx.update('project', { ...now, revision: now.revision + 1 });
          }),
        ),
      );
      assert.equal(
        store.view((tx) => tx.get('project', 'p1' as ProjectId)?.revision),
        50,
      );
    });

    it('shows a watcher every commit after its view, in order', async () => {
      await store.update((tx) => tx.create('project', project('p0')));
      const { result, watch } = store.viewAndWatch((tx) => tx.list('project').length);
      assert.equal(result, 1);
      for (const id of ['p1', 'p2', 'p3']) await store.update((tx) => tx.create('project', project(id)));
      const seen: string[] = [];
      for await (const { changes } of watch) {
        for (const change of changes) seen.push(change.id);
        if (seen.length === 3) break;
      }
      assert.deepEqual(seen, ['p1', 'p2', 'p3']);
    });

    it('lets a watcher go on where it stopped, without gap or repetition', async () => {
      await store.update((tx) => tx.create('project', project('p0')));
      const version = store.view((tx) => tx.version);
      for (const id of ['p1', 'p2']) await store.update((tx) => tx.create('project', project(id)));
      const watch = store.watchFrom(version);
      await store.update((tx) => tx.create('project', project('p3')));
      const seen: string[] = [];
      for await (const { changes } of watch) {
        for (const change of changes) seen.push(change.id);
        if (seen.length === 3) break;
      }
      assert.deepEqual(seen, ['p1', 'p2', 'p3']);
      assert.throws(
        () => store.watchFrom(store.view((tx) => tx.version) + 1),
        (error) => isTsswarmError(error, 'UNAVAILABLE'),
      );
    });

    it('ends a watch that is closed', async () => {
      const { watch } = store.viewAndWatch(() => undefined);
      watch.close();
      for await (const _ of watch) assert.fail('a closed watch has no commits');
    });

    it('freezes what it hands out', async () => {
      await store.update((tx) => tx.create('project', project('p1')));
      const stored = store.view((tx) => tx.get('project', 'p1' as ProjectId)) as { revision: number };
      assert.throws(() => (stored.revision = 9), TypeError);
    });
  });
}
