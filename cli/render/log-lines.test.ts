import assert from 'node:assert/strict';
import { LogLines } from './log-lines.ts';
import { ansiStyle, plainStyle } from './style.ts';

const web = { name: 'web-1', service: 'web' };
const worker = { name: 'worker-10', service: 'worker' };
const TIME = '2026-01-31T12:00:00.000000001Z';
const bytes = (text: string): Uint8Array => Buffer.from(text);
const lines = (change: Partial<ConstructorParameters<typeof LogLines>[0]> = {}): LogLines =>
  new LogLines({ style: plainStyle, withPrefix: true, withTime: false, sources: [web, worker], ...change });

describe('log lines', () => {
  it('have a prefix as wide as the longest name', () => {
    const out = lines();
    assert.equal(out.take(web, 'stdout', TIME, bytes('one\ntwo\n')), 'web-1      | one\nweb-1      | two\n');
    assert.equal(out.take(worker, 'stdout', TIME, bytes('three\n')), 'worker-10  | three\n');
  });

  it('wait for their end, also when other containers speak in between', () => {
    const out = lines();
    assert.equal(out.take(web, 'stdout', TIME, bytes('he')), '');
    assert.equal(out.take(worker, 'stdout', TIME, bytes('hi\n')), 'worker-10  | hi\n');
    assert.equal(out.take(web, 'stderr', TIME, bytes('oops\n')), 'web-1      | oops\n');
    assert.equal(out.take(web, 'stdout', TIME, bytes('llo\n')), 'web-1      | hello\n');
  });

  it('do not break a character that comes in two pieces', () => {
    const out = lines();
    const umlaut = bytes('ü\n');
    assert.equal(out.take(web, 'stdout', TIME, umlaut.subarray(0, 1)), '');
    assert.equal(out.take(web, 'stdout', TIME, umlaut.subarray(1)), 'web-1      | ü\n');
  });

  it('lose the carriage return of a terminal', () => {
    assert.equal(lines().take(web, 'stdout', TIME, bytes('tty\r\n')), 'web-1      | tty\n');
  });

  it('are closed when their container ends', () => {
    const out = lines();
    out.take(web, 'stdout', TIME, bytes('no newline'));
    assert.equal(out.finish(web), 'web-1      | no newline\n');
    assert.equal(out.finish(web), '');
  });

  it('that never end are printed in pieces', () => {
    const out = lines({ withPrefix: false });
    const piece = Buffer.alloc(16 * 1024, 'x');
    let printed = '';
    for (let i = 0; i < 20; i++) printed += out.take(web, 'stdout', TIME, piece);
    assert.equal(printed.length, 256 * 1024 + 1);
  });

  it('can have times and no prefix; the time is that of the beginning of the line', () => {
    const out = lines({ withPrefix: false, withTime: true });
    out.take(web, 'stdout', 'T1', bytes('a'));
    assert.equal(out.take(web, 'stdout', 'T2', bytes('b\nc\n')), 'T1 ab\nT2 c\n');
  });

  it('share a colour within a service, and only there', () => {
    const out = lines({ style: ansiStyle });
    const colour = (source: typeof web): string =>
      /\u001b\[(\d+)m/.exec(out.take(source, 'stdout', TIME, bytes('x\n')))?.[1] ?? '';
    assert.equal(colour(web), colour({ name: 'web-2', service: 'web' }));
    assert.notEqual(colour(web), colour(worker));
  });

  it('tell the end of a container in the place of its output', () => {
    assert.equal(lines().remark(web, 'exited with code 3'), 'web-1 exited with code 3\n');
  });
});
