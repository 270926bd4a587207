import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { releaseProgram } from '../../../node-engine/native/addon.ts';

/** Pages of files that this process has mapped, kB. */
const filePages = (): number =>
  Number(/^RssFile:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? NaN);

describe("the pages of Node's program file", () => {
  it('are let go, and come back as they are used', () => {
    const before = filePages();
    assert.ok(releaseProgram() > 0);
    const after = filePages();
    assert.ok(after < before * 0.75, `${before} kB before, ${after} kB after`);
    // Code that was let go works: the compiler, regular expressions, numbers in words.
    assert.equal(new Function('a', 'return a.replace(/x+/u, "y") + (12.5).toLocaleString("en")')('axxb'), 'ayb12.5');
  });
});
