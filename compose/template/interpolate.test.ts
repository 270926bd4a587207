import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import { interpolate } from './interpolate.ts';

const where = { file: 'compose.yml', line: 3, column: 5 };
const values: Readonly<Record<string, string>> = { SET: 'value', EMPTY: '' };
const run = (template: string, unset: string[] = []): string =>
  interpolate(template, { lookup: (name) => values[name], where, onUnset: (name) => unset.push(name) });

describe('interpolate()', () => {
  const rows: readonly (readonly [string, string])[] = [
    ['plain', 'plain'],
    ['$SET', 'value'],
    ['${SET}', 'value'],
    ['a${SET}b$SET.c', 'avaluebvalue.c'],
    ['$$SET', '$SET'],
    ['$$$SET', '$value'],
    ['5$', '5$'],
    ['$5 and $ alone', '$5 and $ alone'],
    ['${SET:-d}', 'value'],
    ['${EMPTY:-d}', 'd'],
    ['${NONE:-d}', 'd'],
    ['${EMPTY-d}', ''],
    ['${NONE-d}', 'd'],
    ['${SET:+a}', 'a'],
    ['${EMPTY:+a}', ''],
    ['${EMPTY+a}', 'a'],
    ['${NONE+a}', ''],
    ['${NONE:-x-${SET}-z}', 'x-value-z'],
    ['${NONE:-${EMPTY:-deep}}', 'deep'],
    ['${NONE:-{"k":"v"}}', '{"k":"v"}'],
    ['${NONE-a:-b}', 'a:-b'],
    ['${SET:?must be set}', 'value'],
    ['${EMPTY?must be set}', ''],
  ];
  for (const [template, expected] of rows)
    it(`${template} is "${expected}"`, () => assert.equal(run(template), expected));

  it('says which variables were unset, once per use', () => {
    const unset: string[] = [];
    assert.equal(run('${NONE}$OTHER${NONE:-x}', unset), 'x');
    assert.deepEqual(unset, ['NONE', 'OTHER']);
  });

  it('does not evaluate a default that is not needed', () => {
    assert.equal(run('${SET:-${NONE:?never}}'), 'value');
  });

  for (const [template, message] of [
    ['${NONE:?no ${SET}}', 'required variable "NONE" is missing a value: no value'],
    ['${EMPTY:?}', 'required variable "EMPTY" is missing a value'],
    ['${NONE?gone}', 'required variable "NONE" is missing a value: gone'],
    ['${', 'reading the variable in "${": malformed, expected ${NAME} or ${NAME:-default}'],
    ['${}', 'reading the variable in "${}": malformed, expected ${NAME} or ${NAME:-default}'],
    ['${1A}', 'reading the variable in "${1A}": malformed, expected ${NAME} or ${NAME:-default}'],
    ['${a.b}', 'reading the variable in "${a.b}": malformed, expected ${NAME} or ${NAME:-default}'],
  ] as const) {
    it(`refuses ${template} with its place`, () => {
      assert.throws(
        () => run(template),
        (error) => {
          assert.ok(isTsswarmError(error, 'INVALID_COMPOSE'));
          assert.equal(error.message, message);
          assert.deepEqual(error.where, where);
          return true;
        },
      );
    });
  }
});
