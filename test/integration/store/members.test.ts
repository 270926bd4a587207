import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../base/clock.ts';
import { isTsswarmError } from '../../../base/errors.ts';
import type { ProjectId } from '../../../base/ids.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemRandom } from '../../../base/random.ts';
import type { RaftMessage, Transport } from '../../../manager/raft/types.ts';
import { openStore } from '../../../manager/store/index.ts';
import type { OpenStore, ReadTransaction, Store, StoreOptions } from '../../../manager/store/index.ts';

/** Links between stores in one process; a cut server neither sends nor hears. */
class Wires {
  readonly cut = new Set<string>();
  readonly #listeners = new Map<string, (messages: readonly RaftMessage[]) => void>();

  at(address: string): Transport {
    return {
      send: (to, messages) => {
        if (this.cut.has(address) || this.cut.has(to.address)) return;
        setImmediate(() => this.#listeners.get(to.address)?.(messages));
      },
      onMessages: (listener) => void this.#listeners.set(address, listener),
      close: () => Promise.resolve(void this.#listeners.delete(address)),
    };
  }
}

const project = (name: string) => ({
  id: name as ProjectId,
  meta: { version: 0, createdAt: 0, updatedAt: 0 },
  name,
  revision: 1,
  hash: '',
  workingDir: '/',
  configFiles: [],
});
const names = (tx: ReadTransaction) => tx.list('project').map(({ name }) => name);

describe('the store on several members', function () {
  this.timeout(60_000);
  let dir: string;
  let wires: Wires;
  let open: Map<string, OpenStore>;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'tsswarm-members-'));
    wires = new Wires();
    open = new Map();
  });
  afterEach(async () => {
    for (const store of open.values()) await store.close();
    rmSync(dir, { recursive: true });
  });

  const server = (id: string) => ({ id, address: `${id}:1`, voter: true });
  const founders = ['a', 'b', 'c'].map(server);
  const start = async (id: string, change: Partial<StoreOptions> = {}): Promise<OpenStore> => {
    const opened = await openStore({
      dir: join(dir, id),
      id,
      address: `${id}:1`,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      onFatal: (error) => assert.fail(error),
      transport: wires.at(`${id}:1`),
      bootstrap: { servers: founders },
      snapshotEvery: 20,
      trailing: 2,
      ...change,
    });
    open.set(id, opened);
    return opened;
  };
  /** The server that leads, as soon as one among `ids` does. */
  const leader = (...ids: string[]): Promise<string> =>
    new Promise((resolve) => {
      for (const id of ids) {
        const { raft } = open.get(id) as OpenStore;
        if (raft.status().ready) return resolve(id);
        raft.observe((event) => event.kind === 'leader' && event.isSelf && resolve(id));
      }
    });
  const at = (id: string): OpenStore => open.get(id) as OpenStore;
  /** Waits until the store holds the project. */
  const has = async (store: Store, name: string): Promise<void> => {
    for (;;) {
      const { result, watch } = store.viewAndWatch((tx) => names(tx).includes(name));
      if (result) return watch.close();
      try {
        for await (const { changes } of watch) if (changes.some(({ id }) => id === name)) return;
      } catch (error) {
        if (!isTsswarmError(error, 'UNAVAILABLE')) throw error;
      }
    }
  };
  const group = async (): Promise<{ first: string; others: string[] }> => {
    await Promise.all(founders.map(({ id }) => start(id)));
    const first = await leader('a', 'b', 'c');
    return { first, others: founders.map(({ id }) => id).filter((id) => id !== first) };
  };

  it('brings every change to every member, and to those who watch there', async () => {
    const { first, others } = await group();
    const watching = others.map((id) => has(at(id).store, 'shop'));
    await at(first).store.update((tx) => tx.create('project', project('shop')));
    await Promise.all(watching);
    const [one] = others;
    assert.deepEqual(
      at(one ?? '').store.view((tx) => tx.get('project', 'shop' as ProjectId)),
      at(first).store.view((tx) => tx.get('project', 'shop' as ProjectId)),
    );
  });

  it('takes changes only at the leader, and says who that is', async () => {
    const { first, others } = await group();
    await at(first).store.update((tx) => tx.create('project', project('shop')));
    for (const id of others) {
      await has(at(id).store, 'shop');
      await assert.rejects(
        at(id).store.update((tx) => tx.create('project', project('x'))),
        (error) => isTsswarmError(error, 'NOT_LEADER') && error.hint === `the leader is "${first}" at "${first}:1"`,
      );
      await assert.rejects(at(id).raft.readIndex(), (error) => isTsswarmError(error, 'NOT_LEADER'));
    }
    await at(first).raft.readIndex();
  });

  it('lets go of what a deposed leader had not committed, and builds nothing on it', async () => {
    const { first, others } = await group();
    await at(first).store.update((tx) => tx.create('project', project('kept')));
    wires.cut.add(`${first}:1`);
    const lost = ['x', 'y'].map((name) => at(first).store.update((tx) => tx.create('project', project(name))));
    for (const update of lost) await assert.rejects(update, (error) => isTsswarmError(error, 'OUTCOME_UNKNOWN'));
    const next = await leader(...others);
    await at(next).store.update((tx) => tx.create('project', project('after')));
    wires.cut.clear();
    await has(at(first).store, 'after');
    assert.deepEqual(at(first).store.view(names), ['kept', 'after']);
    await at(next).raft.transferLeadership(first);
    await leader(first);
    await at(first).store.update((tx) => tx.create('project', project('x')));
    assert.deepEqual(at(first).store.view(names), ['kept', 'after', 'x']);
  });

  it('brings a new member up by a snapshot, lets it vote, and lets another go', async () => {
    const { first, others } = await group();
    for (let i = 0; i < 60; i++) await at(first).store.update((tx) => tx.create('project', project(`p${i}`)));
    const joined = await start('d', { bootstrap: 'join' });
    await at(first).raft.addServer(server('d'));
    await has(joined.store, 'p59');
    assert.deepEqual(joined.store.view(names), at(first).store.view(names));
    assert.ok(joined.status().snapshotIndex > 0);
    const [gone = ''] = others;
    await at(first).raft.removeServer(gone);
    assert.deepEqual(
      at(first)
        .status()
        .servers.map(({ id, voter }) => [id, voter]),
      ['a', 'b', 'c', 'd'].filter((id) => id !== gone).map((id) => [id, true]),
    );
  });

  it('has everything after all members were stopped, and after all but one are lost', async () => {
    const { first } = await group();
    await at(first).store.update((tx) => tx.create('project', project('shop')));
    for (const store of open.values()) await store.close();
    open.clear();
    await Promise.all(founders.map(({ id }) => start(id)));
    const second = await leader('a', 'b', 'c');
    assert.deepEqual(at(second).store.view(names), ['shop']);
    await at(second).store.update((tx) => tx.create('project', project('more')));
    for (const store of open.values()) await store.close();
    open.clear();
    const alone = await start(second, { forceNewCluster: true });
    await alone.store.update((tx) => tx.create('project', project('alone')));
    assert.deepEqual(alone.store.view(names), ['shop', 'more', 'alone']);
  });
});
