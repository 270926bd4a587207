import assert from 'node:assert/strict';
import type { StatsSample, Task } from '../../../proto/types/index.ts';
import { usageRow } from './row.ts';

describe('a row of stats', () => {
  const task = { name: 'shop-web-1', status: { containerId: 'abcdef0123456789' } } as Task;
  const sample = (atMs: number, cpuNs: number): StatsSample => ({
    atMs,
    cpuNs,
    memoryBytes: 1 << 20,
    memoryLimitBytes: 1 << 30,
    networkReceivedBytes: 1500,
    networkSentBytes: 0,
    blockReadBytes: 0,
    blockWrittenBytes: 4_260_000,
    processes: 2,
  });

  it('has the share of a processor between two samples, and the rest as Docker prints it', () => {
    assert.deepEqual(usageRow(task, { before: sample(0, 0), now: sample(500, 250e6) }, true), {
      BlockIO: '0B / 4.26MB',
      CPUPerc: '50.00%',
      Container: 'abcdef012345',
      ID: 'abcdef012345',
      MemPerc: '0.10%',
      MemUsage: '1MiB / 1GiB',
      Name: 'shop-web-1',
      NetIO: '1.5kB / 0B',
      PIDs: '2',
    });
  });

  it('counts from zero after a restart, and says when it knows nothing', () => {
    assert.equal(usageRow(task, { before: sample(0, 9e9), now: sample(500, 1e6) }, true)['CPUPerc'], '0.00%');
    const unknown = usageRow(task, { before: undefined, now: undefined }, false);
    assert.deepEqual([unknown['CPUPerc'], unknown['NetIO'], unknown['ID']], ['--', '-- / --', 'abcdef0123456789']);
  });
});
