import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERROR_CATALOGUE, TsswarmError, errnoOf, formatLocation, isTsswarmError } from './errors.ts';

describe('the error catalogue', () => {
  it('is what docs/errors.md says', () => {
    const page = readFileSync(join(import.meta.dirname, '..', 'docs', 'errors.md'), 'utf8');
    const documented = page.split('\n').filter((line) => line.startsWith('| `'));
    const expected = Object.entries(ERROR_CATALOGUE).map(
      ([code, { grpc, exit, retryable, about }]) =>
        `| \`${code}\` | ${grpc} | ${exit} | ${retryable ? 'yes' : 'no'} | ${about} |`,
    );
    assert.deepEqual(documented, expected);
  });

  it('tells errors apart by code', () => {
    const error = new TsswarmError('CONFLICT', 'x');
    assert.equal(error.retryable, true);
    assert.ok(isTsswarmError(error, 'CONFLICT'));
    assert.ok(!isTsswarmError(error, 'INTERNAL'));
    assert.ok(!isTsswarmError(new Error('x')));
  });

  it('finds the name of a system error', () => {
    assert.equal(errnoOf(Object.assign(new Error('x'), { code: 'ENOENT' })), 'ENOENT');
    assert.equal(errnoOf(Object.assign(new Error('x'), { code: 'ERR_ASSERTION_' })), undefined);
    assert.equal(errnoOf(undefined), undefined);
  });

  it('prints places as compilers do', () => {
    assert.equal(formatLocation({ file: 'a.yml', line: 3, column: 7 }), 'a.yml:3:7');
  });
});
