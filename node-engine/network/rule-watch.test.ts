import assert from 'node:assert/strict';
import { encode } from './netlink.ts';
import { createTable, nft, u32be } from './nfnetlink.ts';
import { attribute } from './netlink.ts';
import { TransactionReader, judge } from './rule-watch.ts';

const NEWGEN = 15;
const end = (generation: number) => ({ what: '', ...nft(NEWGEN, 0, 0, [attribute(1, u32be(generation))]) });

describe('what is heard of changes of rules', () => {
  it('is taken apart into transactions', () => {
    const events = encode([...createTable('ours'), ...createTable('theirs'), end(7), ...createTable('theirs'), end(8)]);
    assert.deepEqual(new TransactionReader().take(events), [
      { generation: 7, tables: new Set(['ours', 'theirs']) },
      { generation: 8, tables: new Set(['theirs']) },
    ]);
  });

  it('may come with several reads, the end of a transaction with a later one than what it has touched', () => {
    const reader = new TransactionReader();
    assert.deepEqual(reader.take(encode(createTable('ours'))), []);
    assert.deepEqual(reader.take(encode(createTable('theirs'))), []);
    assert.deepEqual(reader.take(encode([end(7), ...createTable('theirs')])), [
      { generation: 7, tables: new Set(['ours', 'theirs']) },
    ]);
    assert.deepEqual(reader.take(encode([end(8)])), [{ generation: 8, tables: new Set(['theirs']) }]);
    reader.take(encode(createTable('ours')));
    // Between them messages were lost: whose end this is nobody knows.
    reader.forget();
    assert.deepEqual(reader.take(encode([end(12)])), [{ generation: 12, tables: new Set() }]);
  });

  const of = (generation: number, ...tables: readonly string[]) => ({ generation, tables: new Set(tables) });
  for (const [title, heard, expected] of [
    ['our own is nothing', [of(4, 'ours'), of(5, 'ours')], { isTouched: false, known: 5 }],
    ['somebody else’s is known then', [of(6, 'theirs'), of(7, 'theirs')], { isTouched: false, known: 7 }],
    ['ours that we did not make is looked at', [of(6, 'theirs'), of(7, 'ours')], { isTouched: true, known: 6 }],
    ['what comes after one that was missed is not known', [of(7, 'theirs')], { isTouched: false, known: 5 }],
  ] as const)
    it(title, () => assert.deepEqual(judge(heard, 'ours', 5), expected));
});
