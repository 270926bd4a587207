import assert from 'node:assert/strict';
import { openDisplay } from './display.ts';
import type { ProgressMode } from './display.ts';
import { renderBlock, timeRows } from './progress.ts';
import type { ProgressPhase, ProgressRow } from './progress.ts';
import { plainStyle } from './style.ts';
import { displayWidth } from './width.ts';

const row = (name: string, phase: ProgressPhase, status: string, more: Partial<ProgressRow> = {}): ProgressRow => ({
  key: name,
  label: `Container ${name}`,
  status,
  phase,
  ...more,
});
const block = (rows: readonly ProgressRow[], size: { width?: number; height?: number } = {}): readonly string[] =>
  renderBlock('Running', [...timeRows(rows, new Map(), 0).values()], {
    width: 80,
    height: 24,
    now: 1500,
    style: plainStyle,
    ...size,
  });

describe('progress', () => {
  it('is a heading with a count, and a line per row with its time', () => {
    const lines = block([row('db', 'done', 'Healthy'), row('shop-web-1', 'working', 'Starting')]);
    assert.deepEqual(lines, [
      '[+] Running 1/2',
      ' ✔ Container db          Healthy   0.0s',
      ' ⠴ Container shop-web-1  Starting  1.5s',
    ]);
  });

  it('counts layers below an image not as work of their own', () => {
    const lines = block([row('image', 'working', 'Pulling'), row('layer', 'done', 'Done', { indent: true })]);
    assert.equal(lines[0], '[+] Running 0/1');
  });

  it('never draws wider than the terminal', () => {
    const long = row('x'.repeat(100), 'error', 'Error', { detail: 'y'.repeat(300) });
    for (const width of [40, 80, 200]) {
      for (const line of block([long], { width }))
        assert.ok(displayWidth(line) < width, `${displayWidth(line)}: ${line}`);
    }
  });

  it('never draws higher than the terminal: what is done goes first', () => {
    const rows = [
      ...Array.from({ length: 30 }, (_, i) => row(`done-${i}`, 'done', 'Started')),
      row('last', 'working', 'Starting'),
    ];
    const lines = block(rows, { height: 10 });
    assert.ok(lines.length < 10, `${lines.length} lines`);
    assert.ok(lines.some((line) => line.includes('Container last')));
    assert.equal(lines.at(-1), `   … ${31 - (lines.length - 2)} more`);
  });

  it('stops the clock of a row that has ended, and starts it again when it goes on', () => {
    const started = timeRows([row('a', 'working', 'Starting')], new Map(), 100);
    const ended = timeRows([row('a', 'done', 'Started')], started, 300);
    const later = timeRows([row('a', 'done', 'Started')], ended, 900);
    assert.deepEqual([later.get('a')?.startedAt, later.get('a')?.endedAt], [100, 300]);
    assert.equal(timeRows([row('a', 'working', 'Restarting')], later, 950).get('a')?.endedAt, undefined);
  });

  describe('on a stream', () => {
    const shown = (mode: ProgressMode, ...updates: readonly (readonly ProgressRow[])[]): string => {
      let text = '';
      const display = openDisplay({
        mode,
        stream: { write: (piece) => (text += piece), columns: 80, rows: 24 },
        style: plainStyle,
        title: 'Running',
      });
      for (const rows of updates) display.update(rows);
      display.interject(() => (text += '<line>\n'));
      display.close();
      display.close();
      return text;
    };
    const steps = [
      [row('a', 'working', 'Creating')],
      [row('a', 'working', 'Creating', { quiet: true, detail: '1 MB' })],
      [row('a', 'done', 'Started'), row('layer', 'done', 'Done', { indent: true })],
    ];

    it('tells every status once, without layers', () => {
      assert.equal(
        shown('plain', ...steps),
        ' Container a  Creating\n Container a  Creating  1 MB\n Container a  Started\n<line>\n',
      );
    });
    it('tells objects to machines', () => {
      const first = shown('json', ...steps).split('\n')[0] ?? '';
      assert.deepEqual(JSON.parse(first), { id: 'Container a', status: 'Creating', phase: 'working' });
    });
    it('says nothing when it shall be quiet', () => assert.equal(shown('quiet', ...steps), '<line>\n'));
    it('leaves the cursor shown and the last state on the terminal', () => {
      const text = shown('tty', ...steps);
      assert.ok(text.endsWith('\u001b[?25h'));
      assert.match(text.slice(text.lastIndexOf('[+]')), /Started/);
      assert.ok(text.includes('<line>'));
    });
    it('draws nothing at all for no rows', () => assert.equal(shown('tty', []), '<line>\n'));
  });
});
