import assert from 'node:assert/strict';
import { systemClock } from '../../../base/clock.ts';
import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import type { NetworkId, ProjectId } from '../../../base/ids.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import { connectEtcd } from '../../../manager/store/etcd/client.ts';
import type { EtcdClient } from '../../../manager/store/etcd/client.ts';
import { openEtcdStore } from '../../../manager/store/etcd/store.ts';
import type { EtcdStoreOptions, OpenEtcdStore } from '../../../manager/store/etcd/store.ts';
import type { Store, StoreCommit, WriteTransaction } from '../../../manager/store/index.ts';
import type { Network, Project } from '../../../proto/types/index.ts';
import { EtcdCluster } from '../../builders/etcd-cluster.ts';
import { networkSpec } from '../../builders/specs.ts';
import { failingEtcd } from '../../fakes/failing-etcd.ts';
import type { FailingEtcd } from '../../fakes/failing-etcd.ts';

const meta = { version: 0, createdAt: 0, updatedAt: 0 };
const project = (id: string, revision = 0, hash = ''): Project => ({
  id: id as ProjectId,
  meta,
  name: id,
  revision,
  hash,
  workingDir: '/',
  configFiles: [],
});
const network = (id: string): Network => ({
  id: id as NetworkId,
  meta,
  projectId: 'p' as ProjectId,
  spec: networkSpec(id),
  subnet: '',
  gateway: '',
  pendingDelete: false,
});
const LARGE = 300;
const createMany = (tx: WriteTransaction): void => {
  for (let i = 0; i < LARGE; i++) tx.create('network', network(`n${i}`));
};
const count = (store: Store): number => store.view((tx) => tx.list('network').length);
const increment = (store: Store): Promise<void> =>
  store.update((tx) => {
    const now = tx.get('project', 'p' as ProjectId);
    if (now === undefined) tx.create('project', project('p', 1));
    else tx.update('project', { ...now, revision: now.revision + 1 });
  });
const revisionOf = (store: Store): number => store.view((tx) => tx.get('project', 'p' as ProjectId)?.revision ?? 0);

interface Manager extends OpenEtcdStore {
  readonly link: FailingEtcd;
}

describe('the store on etcd', function () {
  this.timeout(120_000);
  let cluster: EtcdCluster;
  let raw: EtcdClient;
  let prefix = '';
  let prefixes = 0;
  let managers: Manager[] = [];
  before(async () => {
    cluster = await EtcdCluster.start(3);
    raw = connectEtcd({ endpoints: cluster.endpoints, clock: systemClock });
  });
  after(async () => {
    raw.close();
    await cluster.stop();
  });
  beforeEach(() => {
    prefix = `/test/${prefixes++}/`;
  });
  afterEach(async () => {
    await Promise.all(managers.map(({ close }) => close()));
    managers = [];
  });

  const open = async (
    id: string,
    change: Partial<EtcdStoreOptions> = {},
    prepare: (link: FailingEtcd) => void = () => undefined,
  ): Promise<Manager> => {
    const link = failingEtcd(connectEtcd({ endpoints: cluster.endpoints, clock: systemClock, pageSize: 50 }));
    prepare(link);
    const opened = await openEtcdStore({
      client: link,
      prefix,
      id,
      address: `${id}:1`,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      ...change,
    });
    const manager = { ...opened, link };
    managers.push(manager);
    return manager;
  };
  const leads = async ({ leadership }: Manager): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = leadership.observe((event) => event.kind === 'leader' && event.isSelf && resolve());
    if (leadership.status().ready) resolve();
    await promise;
    stop();
  };
  /** Resolves when `store` shows what `holds` asks for. */
  const shows = async (store: Store, holds: () => boolean): Promise<void> => {
    const { watch } = store.viewAndWatch(() => undefined);
    if (holds()) return watch.close();
    for await (const _ of watch) if (holds()) return;
  };
  /** Kills a manager; its lease ends at once, so that nobody waits. */
  const kill = async (manager: Manager): Promise<void> => {
    manager.link.crash();
    for (const lease of manager.link.leases) await raw.revokeLease(lease).catch(() => undefined);
  };

  it('commits a transaction of more than 128 operations as one, everywhere, and leaves no pieces', async () => {
    const a = await open('a');
    await leads(a);
    const b = await open('b');
    const seen = [a, b].map(({ store }) => store.viewAndWatch(() => undefined).watch[Symbol.asyncIterator]());
    await a.store.update(createMany);
    const commits = await Promise.all(seen.map(async (watch) => (await watch.next()).value as StoreCommit));
    for (const { changes } of commits) assert.equal(changes.length, LARGE);
    assert.equal(commits[0]?.version, commits[1]?.version);
    await increment(a.store);
    for (const watch of seen) {
      const { changes } = (await watch.next()).value as StoreCommit;
      assert.deepEqual(
        changes.map(({ id }) => id),
        ['p'],
      );
      await watch.return?.();
    }
    const { keys } = await raw.list(prefix);
    assert.equal(keys.filter(({ key }) => key.includes('/stage/')).length, 0);
    const c = await open('c');
    assert.deepEqual(
      c.store.view((tx) =>
        tx
          .list('network')
          .map(({ id, meta: { version } }) => [id, version])
          .sort(),
      ),
      a.store.view((tx) =>
        tx
          .list('network')
          .map(({ id, meta: { version } }) => [id, version])
          .sort(),
      ),
    );
    await a.store.update((tx) => {
      for (const { id } of tx.list('network')) tx.remove('network', id);
    });
    await shows(b.store, () => count(b.store) === 0);
    await shows(c.store, () => count(c.store) === 0);
  });

  for (const when of ['unsent', 'unanswered'] as const) {
    it(`is all or nothing when the leader is killed at any write of a large transaction (${when})`, async () => {
      for (let point = 0; ; point++) {
        prefix = `/test/${when}/${point}/`;
        const a = await open('a');
        await leads(a);
        const watcher = await open('b');
        const before = a.link.transactions;
        a.link.failAt(point, when, true);
        const outcome = await Promise.race([
          a.store.update(createMany).then(
            () => 'done',
            (error: unknown) => (isTsswarmError(error) ? error.code : String(error)),
          ),
          a.link.crashed.then(() => 'killed'),
        ]);
        // The rest of a committed one is written after its answer.
        if (outcome === 'done') await Promise.race([increment(a.store).catch(() => undefined), a.link.crashed]);
        const wasReached = a.link.transactions - before > point;
        await kill(a);
        await leads(watcher);
        const c = await open('c');
        const counts = [watcher, c].map(({ store }) => count(store));
        assert.ok(counts[0] === 0 || counts[0] === LARGE, `${counts[0]} of ${LARGE} after a crash at write ${point}`);
        assert.equal(counts[1], counts[0]);
        if (outcome === 'done') assert.equal(counts[0], LARGE);
        const { keys } = await raw.list(prefix);
        assert.equal(keys.filter(({ key }) => key.includes('/stage/')).length, 0);
        assert.equal(keys.filter(({ key }) => key.includes('/object/network/')).length, counts[0]);
        await Promise.all(managers.map(({ close }) => close()));
        managers = [];
        if (!wasReached) {
          assert.ok(point >= 5, `a large transaction is some writes, not ${point}`);
          return;
        }
      }
    });
  }

  it('finishes a large transaction that two leaders died over', async () => {
    for (let point = 0; point < 5; point++) {
      prefix = `/test/twice/${point}/`;
      const a = await open('a');
      await leads(a);
      const b = await open('b');
      // The first piece, then the head: that is the commit, and nobody brings the objects' keys up to date.
      a.link.failAt(1, 'unanswered', true);
      // b stands for election first, then writes three batches and the head.
      b.link.failAt(1 + (point % 4), point < 4 ? 'unanswered' : 'unsent', true);
      a.store.update(createMany).catch(() => undefined);
      await a.link.crashed;
      await kill(a);
      await b.link.crashed;
      const c = await open('c');
      assert.equal(count(c.store), LARGE);
      await kill(b);
      await leads(c);
      await increment(c.store);
      const { keys } = await raw.list(prefix);
      assert.equal(keys.filter(({ key }) => key.includes('/stage/')).length, 0);
      assert.equal(keys.filter(({ key }) => key.includes('/object/network/')).length, LARGE);
      await Promise.all(managers.map(({ close }) => close()));
      managers = [];
    }
  });

  it('applies a write once when it was not sent or its answer was lost', async () => {
    const a = await open('a');
    await leads(a);
    for (const when of ['unsent', 'unanswered'] as const) {
      const before = revisionOf(a.store);
      a.link.failAt(0, when);
      await increment(a.store);
      assert.equal(revisionOf(a.store), before + 1, when);
    }
  });

  it('refuses what is too large before anything is sent', async () => {
    const a = await open('a');
    await leads(a);
    const before = a.link.transactions;
    const large = 'x'.repeat(1_100_000);
    await assert.rejects(
      a.store.update((tx) => tx.create('project', project('p', 0, large))),
      (error) => isTsswarmError(error, 'TOO_LARGE'),
    );
    await assert.rejects(
      a.store.update((tx) => {
        for (let i = 0; i < 18; i++) tx.create('project', project(`p${i}`, 0, large.slice(0, 1_000_000)));
      }),
      (error) => isTsswarmError(error, 'TOO_LARGE'),
    );
    assert.equal(a.link.transactions, before);
    await increment(a.store);
  });

  it('refuses the write of a leader that does not know yet that another took over', async () => {
    const a = await open('a');
    await leads(a);
    await increment(a.store);
    const release = a.link.holdWatch();
    const b = await open('b');
    for (const lease of a.link.leases) await raw.revokeLease(lease);
    await leads(b);
    await increment(b.store);
    assert.equal(a.leadership.status().ready, true);
    await assert.rejects(increment(a.store), (error) => isTsswarmError(error, 'NOT_LEADER'));
    release();
    await shows(a.store, () => revisionOf(a.store) === 2);
    assert.equal(revisionOf(b.store), 2);
  });

  it('refuses the write of a leader whose lease has ended while nobody else leads', async () => {
    const a = await open('a');
    await leads(a);
    await increment(a.store);
    const release = a.link.holdWatch();
    for (const lease of a.link.leases) await raw.revokeLease(lease);
    assert.equal(a.leadership.status().ready, true);
    await assert.rejects(increment(a.store), (error) => isTsswarmError(error, 'NOT_LEADER'));
    const { keys } = await raw.list(prefix);
    const head = keys.find(({ key }) => key.endsWith('/head'));
    assert.equal(
      a.store.view((tx) => tx.version),
      head?.modRevision,
    );
    release();
  });

  it('stops leading before its lease ends when it cannot renew it', async () => {
    const a = await open('a', { leaseMs: 3_000 });
    await leads(a);
    const b = await open('b', { leaseMs: 3_000 });
    const heard: string[] = [];
    await a.leadership.confirmLead();
    a.leadership.observe((event) => event.kind === 'role' && heard.push(event.role));
    a.link.crash();
    await leads(b);
    assert.deepEqual(heard, ['follower']);
    assert.equal(a.leadership.status().ready, false);
    await assert.rejects(a.leadership.confirmLead(), (error) => isTsswarmError(error, 'NOT_LEADER'));
    // Who asks is told why: not that another leads, which this one cannot know.
    await assert.rejects(increment(a.store), /changing the store: .*the link is cut/);
  });

  it('gives leadership up when it closes', async () => {
    const a = await open('a');
    await leads(a);
    const b = await open('b');
    managers = managers.filter((manager) => manager !== a);
    await a.close();
    await leads(b);
    await increment(b.store);
  });

  it('hands leadership over, and says so where nobody takes it', async () => {
    const a = await open('a');
    await leads(a);
    await assert.rejects(a.resign(), (error) => isTsswarmError(error, 'UNAVAILABLE'));
    await leads(a);
    const b = await open('b');
    await a.resign();
    await leads(b);
    assert.equal(a.leadership.status().leaderId, 'b');
    await increment(b.store);
  });

  it('leads at once when it is started again, over the key of its former life', async () => {
    // Longer than the test may take.
    const a = await open('a', { leaseMs: 600_000 });
    await leads(a);
    await increment(a.store);
    a.link.crash();
    const again = await open('a', { leaseMs: 600_000 });
    await leads(again);
    await increment(again.store);
    assert.equal(revisionOf(again.store), 2);
    await raw.revokeLease(a.link.leases[1] ?? '').catch(() => undefined);
    assert.equal(again.leadership.status().ready, true);
  });

  it('shows which managers are up, and no longer when they close', async () => {
    const a = await open('a');
    const b = await open('b');
    const reaches = (ids: string): Promise<void> =>
      new Promise((resolve) => {
        const look = (): void => {
          if ([...a.managers().values()].map(({ id, address }) => `${id} ${address}`).join() === ids) resolve();
        };
        a.onMembership(look);
        look();
      });
    await reaches('a a:1,b b:1');
    managers = managers.filter((manager) => manager !== b);
    await b.close();
    await reaches('a a:1');
  });

  it('writes nothing where the state is not its own, and stands for no election where it may not lead', async () => {
    const a = await open('a');
    await leads(a);
    await increment(a.store);
    const refusal = () => new TsswarmError('ALREADY_EXISTS', 'it is another one');
    await assert.rejects(open('x', { refusal }), (error) => isTsswarmError(error, 'ALREADY_EXISTS'));
    const { keys } = await raw.list(prefix);
    assert.equal(keys.filter(({ key }) => key.endsWith('manager/x')).length, 0);
    const idle = await open('idle', { mayLead: () => false });
    managers = managers.filter((manager) => manager !== a);
    await a.close();
    const b = await open('b');
    await leads(b);
    // It hears of that a moment after the new leader does.
    while (idle.leadership.status().leaderId !== 'b') await new Promise((resolve) => setTimeout(resolve, 5));
  });

  it('opens without etcd where it may wait, says why nobody leads, and goes on by itself', async () => {
    const a = await open('a');
    await leads(a);
    await increment(a.store);
    managers = managers.filter((manager) => manager !== a);
    await a.close();
    let release = (): void => undefined;
    const late = await open('late', { mayWait: true, openTimeoutMs: 300 }, (link) => {
      release = link.holdWatch();
    });
    assert.equal(revisionOf(late.store), 0);
    assert.equal(late.leadership.status().ready, false);
    const seen = late.store.viewAndWatch(() => undefined).watch[Symbol.asyncIterator]();
    release();
    const commit = (await seen.next()).value as StoreCommit;
    assert.deepEqual(
      commit.changes.map(({ id }) => id),
      ['p'],
    );
    await seen.return?.();
    await leads(late);
    await increment(late.store);
    assert.equal(revisionOf(late.store), 2);
  });

  it('does every one of many updates at once, in few transactions, over lost calls too', async () => {
    const a = await open('a');
    await leads(a);
    const b = await open('b');
    const before = a.link.transactions;
    for (const when of ['unanswered', 'unsent'] as const) {
      a.link.failAt(1, when);
      const results = await Promise.all(
        Array.from({ length: 100 }, () =>
          a.store.update((tx) => {
            const now = tx.get('project', 'p' as ProjectId);
            if (now === undefined) tx.create('project', project('p', 1));
            else tx.update('project', { ...now, revision: now.revision + 1 });
            return (now?.revision ?? 0) + 1;
          }),
        ),
      );
      assert.equal(new Set(results).size, 100, 'each on top of the one before');
    }
    assert.equal(revisionOf(a.store), 200);
    await shows(b.store, () => revisionOf(b.store) === 200);
    assert.ok(a.link.transactions - before < 30, `${a.link.transactions - before} transactions`);
  });

  it('takes everything away when the cluster is given up', async () => {
    const a = await open('a');
    await leads(a);
    await a.store.update(createMany);
    await increment(a.store);
    await a.wipe();
    managers = managers.filter((manager) => manager !== a);
    await a.close();
    assert.deepEqual((await raw.list(prefix)).keys, []);
  });

  it('delivers what it missed as one commit when etcd has compacted it, and each change once', async () => {
    const a = await open('a');
    await leads(a);
    await a.store.update((tx) => {
      tx.create('network', network('gone'));
      tx.create('network', network('kept'));
    });
    const b = await open('b');
    const before = b.store.view((tx) => tx.version);
    const watch = b.store.viewAndWatch(() => undefined).watch[Symbol.asyncIterator]();
    const release = b.link.holdWatch();
    await increment(a.store);
    await increment(a.store);
    await a.store.update((tx) => tx.remove('network', 'gone' as NetworkId));
    await a.store.update((tx) => tx.create('network', network('new')));
    await cluster.compact();
    release();
    const commit = (await watch.next()).value as StoreCommit;
    assert.deepEqual(
      commit.changes.map(({ id, before, after }) => [id, before !== undefined, after !== undefined]),
      [
        ['gone', true, false],
        ['p', false, true],
        ['new', false, true],
      ],
    );
    assert.equal(
      commit.version,
      a.store.view((tx) => tx.version),
    );
    assert.throws(
      () => b.store.watchFrom(before),
      (error) => isTsswarmError(error, 'UNAVAILABLE'),
    );
    await increment(a.store);
    const next = (await watch.next()).value as StoreCommit;
    assert.deepEqual(
      next.changes.map(({ id }) => id),
      ['p'],
    );
    await watch.return?.();
  });

  it('loses and doubles nothing while the members of etcd restart one after the other and its leader is killed', async () => {
    const a = await open('a', { updateTimeoutMs: 30_000, leaseMs: 30_000 });
    await leads(a);
    const b = await open('b', { leaseMs: 30_000 });
    const seen: number[][] = [[], []];
    const watching = [a, b].map(async ({ store }, i) => {
      for await (const { changes } of store.viewAndWatch(() => undefined).watch) {
        for (const change of changes) if (change.table === 'project') seen[i]?.push(change.after?.revision ?? -1);
      }
    });
    let done = 0;
    let isOver = false;
    const writing = (async () => {
      while (!isOver) {
        await increment(a.store);
        done++;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    for (let member = 0; member < 3; member++) {
      await cluster.kill(member);
      await cluster.leader();
      await cluster.restart(member);
    }
    const leader = await cluster.leader();
    await cluster.kill(leader);
    await cluster.leader();
    const atKill = done;
    await shows(a.store, () => revisionOf(a.store) > atKill);
    await cluster.restart(leader);
    isOver = true;
    await writing;
    await shows(b.store, () => revisionOf(b.store) === done);
    await Promise.all(managers.map(({ close }) => close()));
    managers = [];
    await Promise.all(watching);
    const every = Array.from({ length: done }, (_, i) => i + 1);
    assert.deepEqual(seen[0], every);
    assert.deepEqual(seen[1], every);
  });

  it('knows why etcd cannot be used all the while that it is away, and who leads when it is back', async () => {
    const a = await open('a');
    await leads(a);
    for (const member of [0, 1, 2]) await cluster.kill(member);
    try {
      await assert.rejects(raw.get(prefix), (error) => isTsswarmError(error, 'UNAVAILABLE'));
      const reasons = new Set<string>();
      for (let attempt = 0; attempt < 5; attempt++) {
        const { promise: ended, resolve } = Promise.withResolvers<true>();
        raw.watch(prefix, 1, { onEvents: () => undefined, onProgress: () => undefined, onEnd: () => resolve(true) });
        for (let isEnded = false; !isEnded;) {
          reasons.add(raw.failure()?.message ?? 'none');
          isEnded = await Promise.race([ended, new Promise<false>((turn) => setImmediate(() => turn(false)))]);
        }
      }
      assert.ok(!reasons.has('none'), [...reasons].join('; '));
      // Before the lease ends, when it does, and after.
      const away = (error: unknown): boolean => isTsswarmError(error, 'UNAVAILABLE') && /etcd: /.test(error.message);
      for (let leading = true; leading; leading = a.leadership.status().ready)
        await assert.rejects(increment(a.store), away);
      await assert.rejects(increment(a.store), away);
    } finally {
      for (const member of [0, 1, 2]) cluster.revive(member);
      await cluster.leader();
    }
    await leads(a);
    await increment(a.store);
    const { failure, leader } = { failure: a.link.failure(), leader: a.leadership.status().leaderId };
    assert.deepEqual({ failure, leader }, { failure: undefined, leader: 'a' });
  });

  it('says of a change that was sent and not answered that it may be there, and why nothing more is known', async () => {
    const a = await open('a', { leaseMs: 3_000 });
    await leads(a);
    a.link.failAt(0, 'unanswered', true);
    await assert.rejects(increment(a.store), (error) => {
      assert.ok(isTsswarmError(error, 'OUTCOME_UNKNOWN'));
      assert.equal(error.message, 'changing the store: calling etcd: the link is cut');
      assert.match(error.hint ?? '', /^containers run on; once .* look whether the change is there/);
      return true;
    });
    const b = await open('b', { leaseMs: 3_000 });
    await leads(b);
    assert.equal(revisionOf(b.store), 1);
  });

  it('goes on while a member of etcd hangs, whichever it is', async () => {
    // etcd 3.4 ends leases that ran out by the clock of a leader that hung, when that wakes up: longer than the test hangs.
    const a = await open('a', { updateTimeoutMs: 60_000, leaseMs: 60_000 });
    await leads(a);
    const b = await open('b', { leaseMs: 60_000 });
    for (let member = 0; member < 3; member++) {
      cluster.pause(member);
      try {
        for (let i = 0; i < 3; i++) await increment(a.store);
        await shows(b.store, () => revisionOf(b.store) === 3 * (member + 1));
      } finally {
        cluster.resume(member);
      }
      await cluster.leader();
    }
    assert.equal(a.leadership.status().ready, true);
    assert.equal(revisionOf(a.store), 9);
  });
});
