import assert from 'node:assert/strict';
import { HookLog } from './output.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('what a hook says, in the log', () => {
  it('is whole lines, whatever pieces they come in', () => {
    const log = new HookLog('pre_stop');
    assert.deepEqual(log.take({ stream: 'stdout', data: bytes('on') }).lines, []);
    assert.deepEqual(log.take({ stream: 'stderr', data: bytes('x\n') }), { stream: 'stderr', lines: ['[pre_stop] x'] });
    assert.deepEqual(log.take({ stream: 'stdout', data: bytes('e\r\ntwo\nthr') }).lines, [
      '[pre_stop] one',
      '[pre_stop] two',
    ]);
    assert.deepEqual(log.finish(), [{ stream: 'stdout', lines: ['[pre_stop] thr'] }]);
    assert.deepEqual(log.finish(), []);
  });

  it('keeps characters that are cut in two', () => {
    const log = new HookLog('m');
    const euro = bytes('€\n');
    assert.deepEqual(log.take({ stream: 'stdout', data: euro.subarray(0, 1) }).lines, []);
    assert.deepEqual(log.take({ stream: 'stdout', data: euro.subarray(1) }).lines, ['[m] €']);
  });

  it('has an end, and says so once', () => {
    const log = new HookLog('m');
    const said = Array.from(
      { length: 20 },
      () => log.take({ stream: 'stdout', data: bytes('a'.repeat(10_000)) }).lines,
    );
    const lines = said.flat();
    assert.ok(lines.every((line) => line.length <= 16_384 + 4));
    assert.equal(lines.filter((line) => line.includes('64 KiB')).length, 1);
    assert.equal(
      lines
        .join('')
        .replaceAll('[m] ', '')
        .replace(/…[^a]*.*$/, '').length,
      65_536,
    );
    assert.deepEqual(log.finish(), []);
  });
});
