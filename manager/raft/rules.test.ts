import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..', '..');
/** Where a test of the table is: beside the code, or with the contracts of what lies on disk. */
const pathOf = (file: string): string =>
  join(root, file === 'snapshot-store.test.ts' ? 'test/contract/raft' : 'manager/raft', file);

describe('the table of Raft’s rules (docs/raft.md)', () => {
  const rows = readFileSync(join(root, 'docs', 'raft.md'), 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, rule = '', file = '', title = ''] =
        /^\| (.+?) \| .*\| `([\w./-]+\.test\.ts)`: (.+?) \|$/.exec(line) ?? [];
      return rule === '' ? [] : [{ rule, file, title }];
    });

  it('has a test for each, which exists', () => {
    assert.ok(rows.length >= 60, `${rows.length} rows`);
    const missing = rows.filter(({ file, title }) => !readFileSync(pathOf(file), 'utf8').includes(title));
    assert.deepEqual(missing, []);
  });

  it('names no test twice', () => {
    const tests = rows.map(({ file, title }) => `${file}: ${title}`);
    assert.deepEqual(
      tests.filter((test, at) => tests.indexOf(test) !== at),
      [],
    );
  });
});
