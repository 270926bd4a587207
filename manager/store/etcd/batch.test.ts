import assert from 'node:assert/strict';
import { isTsswarmError } from '../../../base/errors.ts';
import type { ProjectId } from '../../../base/ids.ts';
import type { Project } from '../../../proto/types/index.ts';
import { Database } from '../database.ts';
import type { WriteTransaction } from '../types.ts';
import { Batch } from './batch.ts';

const id = 'p' as ProjectId;
const project = (change: Partial<Project> = {}): Project => ({
  id,
  meta: { version: 0, createdAt: 0, updatedAt: 0 },
  name: 'p',
  revision: 1,
  hash: '',
  workingDir: '/',
  configFiles: [],
  ...change,
});

describe('updates that are committed together', () => {
  let base: Database;
  let batch: Batch;
  let said: unknown[];
  const encoding = {
    operation: ({ table, id: of, after }: { table: string; id: string; after: unknown }) =>
      after === undefined
        ? { remove: `${table}/${of}` }
        : { put: `${table}/${of}`, value: Buffer.from(String((after as Project).revision)) },
    entry: () => Buffer.from('whole'),
  };
  const add = (write: (tx: WriteTransaction) => unknown): boolean =>
    batch.add({ write, resolve: (result) => said.push(result), reject: (error) => said.push(error) }, 1);
  const written = (): string[] =>
    batch.operations.map((one) =>
      'put' in one ? `${one.put}=${String(one.value)}` : `-${'remove' in one ? one.remove : ''}`,
    );
  beforeEach(() => {
    base = new Database();
    base.apply(7, [
      { table: 'project', id, before: undefined, after: project({ meta: { version: 7, createdAt: 1, updatedAt: 1 } }) },
    ]);
    batch = new Batch(base, encoding, { operations: 3, bytes: 10_000 });
    said = [];
  });

  it('are made one on top of the other, and written once', () => {
    for (let i = 0; i < 3; i++)
      add((tx) => {
        const now = tx.get('project', id) as Project;
        tx.update('project', { ...now, revision: now.revision + 1 });
        return now.revision;
      });
    assert.deepEqual(written(), ['project/p=4']);
    assert.deepEqual(said, [], 'nobody is told before it is committed');
    batch.answer();
    assert.deepEqual(said, [1, 2, 3]);
  });

  it('refuse one that has read what another has changed since, and are not harmed by it', () => {
    const stale = base.get('project', id) as Project;
    add((tx) => tx.update('project', { ...stale, revision: 2 }));
    add((tx) => tx.update('project', { ...stale, revision: 9 }));
    add((tx) => {
      tx.remove('project', id);
      throw new Error('no');
    });
    batch.answer();
    assert.equal(said[0], undefined);
    assert.ok(isTsswarmError(said[1], 'CONFLICT'));
    assert.match(String(said[2]), /no/);
    assert.deepEqual(written(), ['project/p=2']);
  });

  it('leave out what finds no room, and take a large one alone', () => {
    const many = (count: number, name: string) => (tx: WriteTransaction) => {
      for (let i = 0; i < count; i++)
        tx.create('project', project({ id: `${name}${i}` as ProjectId, name: `${name}${i}` }));
    };
    assert.ok(add(many(2, 'a')));
    assert.ok(!add(many(2, 'b')));
    assert.equal(batch.whole, undefined);
    batch.answer();
    assert.equal(said.length, 1);
    batch = new Batch(base, encoding, { operations: 3, bytes: 10_000 });
    assert.ok(add(many(4, 'c')));
    assert.equal(String(batch.whole), 'whole');
    assert.ok(!add(many(1, 'd')));
  });
});
