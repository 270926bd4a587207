import { deepEqual } from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { raiseNeighbourLimits } from './neighbour-limits.ts';

describe('limits of neighbours', () => {
  it('are raised where they are lower, left alone where they are not there, and put back', () => {
    const settings = mkdtempSync(join(tmpdir(), 'tsswarm-neighbours-'));
    try {
      const folder = join(settings, 'ipv4', 'neigh', 'default');
      mkdirSync(folder, { recursive: true });
      const given = { gc_thresh1: '128\n', gc_thresh2: '512\n', gc_thresh3: '100000\n' };
      for (const [name, value] of Object.entries(given)) writeFileSync(join(folder, name), value);
      const limits = (): number[] => Object.keys(given).map((name) => Number(readFileSync(join(folder, name), 'utf8')));
      const putBack = raiseNeighbourLimits(settings);
      deepEqual(limits(), [8192, 32_768, 100_000]);
      putBack();
      deepEqual(limits(), [128, 512, 100_000]);
    } finally {
      rmSync(settings, { recursive: true });
    }
  });
});
