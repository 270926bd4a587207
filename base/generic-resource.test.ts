import assert from 'node:assert/strict';
import { parseGenericResources } from './generic-resource.ts';

describe('generic resources of a node', () => {
  const rows: readonly (readonly [readonly string[], unknown])[] = [
    [[], []],
    [['gpu=2'], [{ kind: 'gpu', count: 2, names: [] }]],
    [['gpu=a,b'], [{ kind: 'gpu', count: 2, names: ['a', 'b'] }]],
    [['gpu=a', 'ssd=3', 'gpu=b'], [{ kind: 'gpu', count: 2, names: ['a', 'b'] }, { kind: 'ssd', count: 3, names: [] }]], // prettier-ignore
    [['gpu=/dev/dri/renderD128'], [{ kind: 'gpu', count: 1, names: ['/dev/dri/renderD128'] }]],
    [['gpu'], ['gpu', 'expected <kind>=<number> or <kind>=<name>[,<name>…]']],
    [['a b=1'], ['a b=1', 'expected <kind>=<number> or <kind>=<name>[,<name>…]']],
    [['gpu='], ['gpu=', 'expected <kind>=<number> or <kind>=<name>[,<name>…]']],
    [['gpu=0'], ['gpu=0', 'expected 1 or more']],
    [
      ['gpu=2', 'gpu=3'],
      ['gpu=3', '"gpu" is given already'],
    ],
    [
      ['gpu=2', 'gpu=a'],
      ['gpu=a', '"gpu" is given already, by number'],
    ],
    [['gpu=a,a'], ['gpu=a,a', '"a" is there twice']],
    [['gpu=a,,b'], ['gpu=a,,b', 'a name is empty']],
  ];
  for (const [given, expected] of rows)
    it(given.join(' ') || 'none', () => assert.deepEqual(parseGenericResources(given), expected));
});
