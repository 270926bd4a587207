import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import { parseEnvFile } from './env-file.ts';

const outside: Readonly<Record<string, string>> = { OUT: 'outer' };
const read = (text: string): Record<string, string> =>
  Object.fromEntries(parseEnvFile(text, '.env', (name) => outside[name]));

describe('parseEnvFile()', () => {
  const rows: readonly (readonly [string, string, Record<string, string>])[] = [
    ['plain pairs', 'A=1\nB=two words\n', { A: '1', B: 'two words' }],
    ['export and spaces', 'export A = 1\n  B=2  \n', { A: '1', B: '2' }],
    ['a colon', 'A: 1', { A: '1' }],
    ['comments', '# c\nA=1 # comment\nB=1#none\n', { A: '1', B: '1#none' }],
    ['single quotes are literal', "A='$OUT \\n #x'", { A: '$OUT \\n #x' }],
    ['double quotes know escapes and variables', 'A="a\\tb $OUT \\$OUT \\"q\\""', { A: 'a\tb outer $OUT "q"' }],
    ['quotes span lines', 'A="one\ntwo"\nB=3', { A: 'one\ntwo', B: '3' }],
    ['earlier keys are known', 'A=1\nB=${A}2', { A: '1', B: '12' }],
    ['a bare key takes the value from outside or is left out', 'OUT\nNONE\n', { OUT: 'outer' }],
    ['the last of two wins', 'A=1\nA=2', { A: '2' }],
    ['CRLF and a byte order mark', '\uFEFFA=1\r\nB=2\r\n', { A: '1', B: '2' }],
    ['an empty value', 'A=\nB=""', { A: '', B: '' }],
    ['an equals sign in the value', 'A=b=c', { A: 'b=c' }],
  ];
  for (const [title, text, expected] of rows) it(title, () => assert.deepEqual(read(text), expected));

  for (const [text, line] of [
    ['A=1\nnot a pair\n', 2],
    ['A="open\n', 1],
    ['A=1\nB="x" y', 2],
  ] as const) {
    it(`refuses ${JSON.stringify(text)} at line ${line}`, () => {
      assert.throws(
        () => read(text),
        (error) => isTsswarmError(error, 'INVALID_COMPOSE') && error.where?.line === line,
      );
    });
  }
});
