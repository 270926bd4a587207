import assert from 'node:assert/strict';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import type { ProjectId } from '../../base/ids.ts';
import { VirtualClock, settle } from '../../test/fakes/virtual-clock.ts';
import type { Raft, RaftObservation } from '../raft/types.ts';
import { replicatedStore } from './replicated.ts';
import type { WriteTransaction } from './types.ts';

const create = (id: string) => (tx: WriteTransaction) => {
  const meta = { version: 0, createdAt: 0, updatedAt: 0 };
  const project = { id: id as ProjectId, meta, name: id, revision: 0, hash: '', workingDir: '/', configFiles: [] };
  tx.create('project', project);
};
const count = (tx: WriteTransaction): number => tx.list('project').length;

describe('a transaction of the replicated store', () => {
  /** A leader whose entries are committed when the test says so. */
  const start = () => {
    const { machine, attach } = replicatedStore(new VirtualClock());
    const waiting: { payload: Uint8Array; index: number; resolve: () => void; reject: (error: unknown) => void }[] = [];
    let tell = (_event: RaftObservation): void => undefined;
    let next = 1;
    const raft: Partial<Raft> & Pick<Raft, 'propose'> = {
      status: () => ({ ready: true, leaderId: '', servers: [] }) as unknown as ReturnType<Raft['status']>,
      observe(listener) {
        tell = listener;
        return () => undefined;
      },
      propose(payload) {
        const { promise, resolve, reject } = Promise.withResolvers<void>();
        waiting.push({ payload, index: next++, resolve, reject });
        return promise;
      },
    };
    Object.defineProperty(raft, 'nextIndex', { get: () => next });
    const { store } = attach(raft as Raft);
    return {
      store,
      commit() {
        const entry = waiting.shift();
        assert.ok(entry);
        machine.apply({ index: entry.index, term: 1, kind: 'command', payload: entry.payload });
        entry.resolve();
      },
      lose() {
        tell({ kind: 'role', role: 'follower', term: 2 } as RaftObservation);
        for (const { reject } of waiting.splice(0)) reject(new TsswarmError('OUTCOME_UNKNOWN', 'lost'));
      },
    };
  };
  /** What has become of a promise by now. */
  const now = async (promise: Promise<unknown>): Promise<string> => {
    promise.catch(() => undefined);
    await settle();
    return Promise.race([
      promise.then(
        (value) => `done ${JSON.stringify(value)}`,
        (error: unknown) => (isTsswarmError(error) ? error.code : String(error)),
      ),
      settle().then(() => 'waits'),
    ]);
  };

  it('that finds done what it was to do is done when that is committed', async () => {
    const { store, commit } = start();
    const first = store.update(create('a'));
    const second = store.update(create('b'));
    const reads = store.update(count);
    const refused = store.update(create('a'));
    assert.deepEqual(await Promise.all([first, reads, refused].map(now)), ['waits', 'waits', 'waits']);
    commit();
    assert.deepEqual(await Promise.all([first, second, reads].map(now)), ['done undefined', 'waits', 'waits']);
    commit();
    assert.deepEqual(await Promise.all([second, reads, refused].map(now)), [
      'done undefined',
      'done 2',
      'ALREADY_EXISTS',
    ]);
    assert.equal(await now(store.update(count)), 'done 2', 'nothing is under way');
  });

  it('that has read what never came to be has surely done nothing', async () => {
    const { store, lose } = start();
    const first = store.update(create('a'));
    const reads = store.update(count);
    const refused = store.update(create('a'));
    await settle();
    lose();
    assert.deepEqual(await Promise.all([first, reads, refused].map(now)), [
      'OUTCOME_UNKNOWN',
      'NOT_LEADER',
      'NOT_LEADER',
    ]);
  });
});
