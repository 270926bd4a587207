import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { appendLog, readLog } from './index.ts';

describe('lines added to a log', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'append-log-'))));
  afterEach(() => rmSync(dir, { recursive: true }));

  it('are read like the container’s own', async () => {
    const path = join(dir, 'log');
    writeFileSync(path, '{"log":"own\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n');
    await appendLog(path, 'stderr', ['a "b"', 'ü'], Date.UTC(2026, 0, 2));
    const read: string[] = [];
    const query = { follow: false, tail: -1, since: 0, until: 0 };
    for await (const { stream, data, timeNs } of readLog(path, query, Promise.resolve()))
      read.push(`${stream} ${timeNs / 1_000_000_000n} ${Buffer.from(data).toString()}`);
    assert.deepEqual(read, ['stdout 1767225600 own\n', 'stderr 1767312000 a "b"\n', 'stderr 1767312000 ü\n']);
  });

  it('follow no link', async () => {
    symlinkSync(join(dir, 'target'), join(dir, 'log'));
    await assert.rejects(appendLog(join(dir, 'log'), 'stdout', ['x'], 0), { code: 'ELOOP' });
  });
});
