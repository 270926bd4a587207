import assert from 'node:assert/strict';
import { TsswarmError } from '../../base/errors.ts';
import { durationWords, stepSeconds } from './duration.ts';
import { exitCodeOf, renderFailure } from './failure.ts';
import { formatMemory, formatSize } from './size.ts';
import { ansiStyle, plainStyle, wantsAnsi } from './style.ts';
import { renderTable } from './table.ts';
import { cutTo, displayWidth, padTo } from './width.ts';

const SECOND = 1000;
const HOUR = 3600 * SECOND;

describe('render', () => {
  describe('durations are told in the words of docker ps', () => {
    for (const [ms, words] of [
      [0, 'Less than a second'],
      [999, 'Less than a second'],
      [SECOND, '1 second'],
      [59.9 * SECOND, '59 seconds'],
      [60 * SECOND, 'About a minute'],
      [61 * 60 * SECOND, 'About an hour'],
      [59 * 60 * SECOND, '59 minutes'],
      [5 * HOUR, '5 hours'],
      [50 * HOUR, '2 days'],
      [15 * 24 * HOUR, '2 weeks'],
      [100 * 24 * HOUR, '3 months'],
      [800 * 24 * HOUR, '2 years'],
    ] as const) {
      it(`${ms} ms: ${words}`, () => assert.equal(durationWords(ms), words));
    }
    it('steps have one decimal, and never a negative time', () => {
      assert.equal(stepSeconds(1234), '1.2s');
      assert.equal(stepSeconds(-5), '0.0s');
    });
  });

  it('sizes have three digits in decimal units', () => {
    assert.deepEqual(
      [0, 999, 1000, 4_261_550, 133_000_000].map((size) => formatSize(size)),
      ['0B', '999B', '1kB', '4.26MB', '133MB'],
    );
    assert.equal(formatMemory(8 * 2 ** 30), '8GiB');
  });

  it('columns are as wide as what they show, the last one is not padded', () => {
    assert.equal(
      renderTable(
        ['NAME', 'PORTS'],
        [
          ['a-very-long-name', '80/tcp'],
          ['b', ''],
        ],
      ),
      'NAME               PORTS\na-very-long-name   80/tcp\nb\n',
    );
  });

  it('width is counted in columns of the terminal', () => {
    assert.equal(displayWidth(ansiStyle('red', 'abc')), 3);
    assert.equal(displayWidth('日本'), 4);
    assert.equal(padTo('日', 4), '日  ');
    assert.equal(cutTo('abcdef', 4), 'abc…');
    assert.equal(cutTo('abc', 4), 'abc');
    assert.equal(cutTo('日本語', 4), '日…');
  });

  describe('colours', () => {
    for (const [title, mode, terminal, env, wanted] of [
      ['on a terminal', 'auto', true, {}, true],
      ['not in a pipe', 'auto', false, {}, false],
      ['not with NO_COLOR', 'auto', true, { NO_COLOR: '1' }, false],
      ['not on a dumb terminal', 'auto', true, { TERM: 'dumb' }, false],
      ['in a pipe with --ansi always', 'always', false, { NO_COLOR: '1' }, true],
      ['not with --ansi never', 'never', true, {}, false],
    ] as const) {
      it(title, () => assert.equal(wantsAnsi(mode, terminal, env), wanted));
    }
  });

  describe('errors', () => {
    const where = { file: '/home/me/shop/compose.yaml', line: 3, column: 7 };
    it('are one line with the place in front, near paths short, and a hint', () => {
      const error = new TsswarmError('INVALID_COMPOSE', 'unknown key "x"', { where, hint: 'did you mean "y"?' });
      assert.equal(
        renderFailure(error, plainStyle, '/home/me/shop'),
        'compose.yaml:3:7: error: unknown key "x"\nhint: did you mean "y"?\n',
      );
      assert.match(renderFailure(error, plainStyle, '/tmp'), /^\/home\/me\/shop\/compose\.yaml:3:7: /);
    });
    it('stay one line when their message has several', () => {
      assert.equal(renderFailure(new Error('first\n  second\n'), plainStyle, '/'), 'error: first; second\n');
    });
    it('have the exit code of the catalogue', () => {
      assert.equal(exitCodeOf(new TsswarmError('COMMAND_NOT_FOUND', 'x')), 127);
      assert.equal(exitCodeOf(new Error('x')), 1);
    });
  });
});
