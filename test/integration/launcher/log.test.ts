import { deepEqual, equal, ok } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { attachTo, readWarnings } from '../../../node-engine/launcher/index.ts';
import { readLog } from '../../../node-engine/log/index.ts';
import { LauncherFixture } from './fixture.ts';

interface Line {
  readonly log: string;
  readonly stream: string;
  readonly time: string;
}

describe('the log of a container', () => {
  let fixture: LauncherFixture;
  before(() => (fixture = new LauncherFixture()));
  after(() => fixture.dispose());

  const linesOf = (path: string): Line[] =>
    readFileSync(path, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Line);

  /** What a script prints, and the "log" fields of the records, in order. */
  for (const [title, script, expected] of [
    ['has one record a line', 'printf "a\\nb\\n\\nc\\n"', ['a\n', 'b\n', '\n', 'c\n']],
    ['joins what was written in pieces', 'printf a; sleep 0.02; printf "b\\n"', ['ab\n']],
    ['keeps a last line without its newline', 'printf "a\\nrest"', ['a\n', 'rest']],
    ['escapes as Go does', 'printf "<&>\\"\\\\\\\\\\t\\r\\001\\177\\n"', ['<&>"\\\t\r\u0001\u007f\n']],
    ['keeps other scripts', 'printf "äöü 漢字 🐧\\n"', ['äöü 漢字 🐧\n']],
    [
      'replaces bytes that are no text',
      'printf "a\\377b\\300\\200c\\355\\240\\200\\n"',
      ['a\ufffdb\ufffd\ufffdc\ufffd\ufffd\ufffd\n'],
    ],
    [
      'cuts a long line at 16 KiB',
      'head -c 40000 /dev/zero | tr "\\0" x; echo',
      ['x'.repeat(16384), 'x'.repeat(16384), `${'x'.repeat(40000 - 32768)}\n`],
    ],
    ['cuts no character in two', 'head -c 16383 /dev/zero | tr "\\0" x; echo ü', ['x'.repeat(16383), 'ü\n']],
  ] as const) {
    it(title, async () => {
      const container = fixture.script(script);
      await container.run();
      const lines = linesOf(container.logPath);
      deepEqual(
        lines.map(({ log }) => log),
        expected,
      );
      for (const { stream, time } of lines) {
        equal(stream, 'stdout');
        ok(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(time) && !time.endsWith('0Z'), time);
      }
    });
  }

  it('tells the streams apart', async () => {
    const container = fixture.script('echo out; echo err >&2');
    const { stdout, stderr } = await container.run();
    deepEqual([stdout, stderr], ['out\n', 'err\n']);
  });

  it('goes on in the same file at the next start', async () => {
    const container = fixture.script('echo again');
    await container.run();
    equal((await container.run()).stdout, 'again\nagain\n');
  });

  it('is not kept without a path', async () => {
    const container = fixture.script('head -c 1000000 /dev/zero');
    const { startBundle } = await import('../../../node-engine/launcher/index.ts');
    await startBundle({ bundleDir: container.bundleDir, runDir: container.runDir, stdin: false });
    equal((await container.ended()).code, 0);
    ok(!existsSync(container.logPath));
  });

  it('is rotated by size, and keeps so many files', async () => {
    const container = fixture.script('i=0; while [ $i -lt 2000 ]; do echo line-$i; i=$((i+1)); done');
    const log = { path: container.logPath, maxSizeBytes: 20_000, maxFiles: 3 };
    await container.run({ log });
    deepEqual(
      ['', '.1', '.2', '.3'].map((suffix) => existsSync(container.logPath + suffix)),
      [true, true, true, false],
    );
    for (const suffix of ['.1', '.2']) {
      const { size } = statSync(container.logPath + suffix);
      ok(size >= 20_000 && size < 20_200, `${size} bytes`);
    }
    const kept = [
      ...linesOf(`${container.logPath}.2`),
      ...linesOf(`${container.logPath}.1`),
      ...linesOf(container.logPath),
    ];
    equal(kept.at(-1)?.log, 'line-1999\n');
    const first = Number(/\d+/.exec(kept[0]?.log ?? '')?.[0]);
    deepEqual(
      kept.map(({ log }) => log),
      Array.from({ length: kept.length }, (_, index) => `line-${first + index}\n`),
    );
  });

  it('of one file begins anew when it is full', async () => {
    const container = fixture.script('i=0; while [ $i -lt 1000 ]; do echo line-$i; i=$((i+1)); done');
    await container.run({ log: { path: container.logPath, maxSizeBytes: 5000, maxFiles: 1 } });
    ok(!existsSync(`${container.logPath}.1`));
    ok(statSync(container.logPath).size <= 5200);
    equal(linesOf(container.logPath).at(-1)?.log, 'line-999\n');
  });

  it('is followed over rotations without loss', async () => {
    const script =
      'read go; i=0; while [ $i -lt 500 ]; do echo line-$i; i=$((i+1)); [ $((i % 100)) = 0 ] && sleep 0.02; done';
    const container = fixture.script(script);
    await container.start({ stdin: true, log: { path: container.logPath, maxSizeBytes: 8000, maxFiles: 20 } });
    const session = await attachTo(container.runDir);
    const seen: string[] = [];
    const query = { follow: true, tail: -1, since: 0, until: 0 };
    const following = (async () => {
      for await (const { data } of readLog(container.logPath, query, session.exit))
        seen.push(Buffer.from(data).toString());
    })();
    await session.write(Buffer.from('\n'));
    await following;
    deepEqual(
      seen,
      Array.from({ length: 500 }, (_, index) => `line-${index}\n`),
    );
  });

  it('loses lines on a full disk, says so, and never the container', async () => {
    const dir = join(fixture.dir, 'small');
    mkdirSync(dir);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'tmpfs', dir]);
    try {
      const container = fixture.script('i=0; while [ $i -lt 1000 ]; do echo line-$i; i=$((i+1)); done; exit 6');
      const { exit } = await container.run({ log: { path: join(dir, 'log'), maxSizeBytes: 0, maxFiles: 1 } });
      equal(exit.code, 6);
      ok(readWarnings(container.runDir).some((line) => line.includes('loses lines: No space left')));
      ok(linesOf(join(dir, 'log')).length > 10, 'what fits is whole lines');
    } finally {
      execFileSync('umount', [dir]);
    }
  });
});
