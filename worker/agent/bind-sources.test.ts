import assert from 'node:assert/strict';
import { VirtualClock, settle } from '../../test/fakes/virtual-clock.ts';
import { createBindSources } from './bind-sources.ts';

describe('paths that a node says it has', () => {
  const fixture = (...paths: readonly string[]) => {
    const clock = new VirtualClock();
    const there = new Set(paths);
    const asked: string[] = [];
    let changes = 0;
    const sources = createBindSources({
      exists(path) {
        asked.push(path);
        if (path.startsWith('/hangs')) return new Promise(() => undefined);
        if (path.startsWith('/fails')) return Promise.reject(new Error('EIO'));
        return Promise.resolve(there.has(path));
      },
      clock,
      onChange: () => changes++,
    });
    return { clock, there, asked, sources, changes: () => changes };
  };

  it('are those that were asked for, said when all are known', async () => {
    const { sources, changes } = fixture('/srv', '/etc');
    assert.deepEqual(sources.known(), { present: [], missing: [] });
    sources.want(['/fails', '/none', '/srv']);
    await settle();
    assert.deepEqual(sources.known(), { present: ['/srv'], missing: ['/fails', '/none'] });
    assert.equal(changes(), 1);
    sources.want(['/etc', '/srv']);
    await settle();
    assert.deepEqual(sources.known(), { present: ['/etc', '/srv'], missing: [] });
    // What was said while they asked for something else may not have been kept.
    const before = [changes(), sources.asked()];
    sources.want(['/etc', '/srv']);
    assert.deepEqual([changes() - (before[0] ?? 0), sources.asked() - (before[1] ?? 0)], [1, 1]);
    sources.want([]);
    assert.equal(changes() - (before[0] ?? 0), 1);
  });

  it('are looked for again while they are missing, and now and then when they were there', async () => {
    const { clock, there, asked, sources, changes } = fixture('/srv');
    sources.want(['/none', '/srv']);
    sources.look();
    await settle();
    asked.length = 0;
    there.add('/none');
    sources.look();
    await settle();
    assert.deepEqual(asked, ['/none']);
    assert.deepEqual(sources.known().present, ['/none', '/srv']);
    const before = changes();
    there.clear();
    sources.look();
    await settle();
    assert.equal(changes(), before);
    await clock.advance(5000);
    sources.look();
    await settle();
    assert.deepEqual(sources.known(), { present: [], missing: ['/none', '/srv'] });
    assert.equal(changes(), before + 1);
  });

  it('are missing where nobody answers, and asked for once', async () => {
    const { clock, asked, sources } = fixture();
    sources.want(['/hangs/a']);
    await settle();
    assert.deepEqual(sources.known(), { present: [], missing: [] });
    await clock.advance(1000);
    assert.deepEqual(sources.known(), { present: [], missing: ['/hangs/a'] });
    sources.look();
    await clock.advance(10_000);
    sources.look();
    await settle();
    assert.deepEqual(asked, ['/hangs/a']);
  });
});
