import { deepEqual, equal, rejects } from 'node:assert/strict';
import { runProgram } from '../../../node-engine/native/addon.ts';

describe('a program that is run to its end', () => {
  it('reads its input, and its outputs and code are told apart', async () => {
    const ended = await runProgram('sh', ['-c', 'cat; echo wrong >&2; exit 3'], { input: 'hello' });
    deepEqual([ended.code, ended.signal], [3, 0]);
    deepEqual([ended.stdout.toString(), ended.stderr.toString()], ['hello', 'wrong\n']);
  });
  it('has the environment that it is given, and nothing to read unless it is', async () => {
    const { stdout } = await runProgram('/usr/bin/env', ['sh', '-c', 'cat; echo "$WORD-$HOME"'], {
      env: { WORD: 'one', PATH: '/usr/bin:/bin' },
    });
    equal(stdout.toString(), 'one-\n');
  });
  it('is ended by signals as any other', async () => {
    const { code, signal } = await runProgram('sh', ['-c', 'kill -TERM $$; exit 1']);
    deepEqual([code, signal], [-1, 15]);
  });
  it('is not held up by more than is kept', async () => {
    const { code, stdout } = await runProgram('sh', ['-c', 'head -c 5000000 /dev/zero; exit 4']);
    deepEqual([code, stdout.length], [4, 1024 * 1024]);
  });
  it('ends many times at once, beside children of Node', async () => {
    const all = await Promise.all(Array.from({ length: 50 }, (_, i) => runProgram('sh', ['-c', `exit ${i}`])));
    deepEqual(
      all.map(({ code }) => code),
      Array.from({ length: 50 }, (_, i) => i),
    );
  });
  it('that is not there, or cannot be executed, is refused with the reason', async () => {
    await rejects(runProgram('/no/such/program', []), { code: 'ENOENT' });
    await rejects(runProgram('/etc/passwd', []), { code: 'EACCES' });
  });
});
