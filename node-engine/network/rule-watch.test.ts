import assert from 'node:assert/strict';
import { encode } from './netlink.ts';
import { createTable, nft, u32be } from './nfnetlink.ts';
import { attribute } from './netlink.ts';
import { judge, transactionsOf } from './rule-watch.ts';

const NEWGEN = 15;
const end = (generation: number) => ({ what: '', ...nft(NEWGEN, 0, 0, [attribute(1, u32be(generation))]) });

describe('what is heard of changes of rules', () => {
  it('is taken apart into transactions', () => {
    const events = encode([...createTable('ours'), ...createTable('theirs'), end(7), ...createTable('theirs'), end(8)]);
    assert.deepEqual(transactionsOf(events), [
      { generation: 7, tables: new Set(['ours', 'theirs']) },
      { generation: 8, tables: new Set(['theirs']) },
    ]);
    assert.deepEqual(transactionsOf(events.subarray(0, 40)), []);
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
