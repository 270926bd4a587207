import assert from 'node:assert/strict';
import type { ContainerId, ExecRequest, ExitStatus, ProcessSession } from '../../../node-engine/types.ts';
import { VirtualClock, settle } from '../../../test/fakes/virtual-clock.ts';
import { runHooks } from './loop.ts';

const ID = 'c' as ContainerId;
const hook = (...command: string[]) => ({ command, user: 'u', privileged: true, workingDir: '/w', env: ['A=1'] });

/** A container in which "exit N words…" ends with N and says the words, and "hang" never ends. */
class Container {
  readonly ran: ExecRequest[] = [];
  readonly closed: string[] = [];
  readonly log: string[] = [];

  appendLog(_: ContainerId, stream: string, lines: readonly string[]): Promise<void> {
    this.log.push(...lines.map((line) => `${stream} ${line}`));
    return Promise.resolve();
  }

  exec(_: ContainerId, request: ExecRequest): Promise<ProcessSession> {
    this.ran.push(request);
    const [verb = '', code = '0', ...words] = request.argv;
    if (verb === 'missing') return Promise.reject(new Error('no such file or directory'));
    const exit = new Promise<ExitStatus>((resolve) => {
      if (verb === 'exit' || verb === 'leave') resolve({ code: Number(code), oomKilled: false, at: 0 });
    });
    async function* output(): AsyncGenerator<{ stream: 'stdout'; data: Uint8Array }> {
      if (verb === 'hang' || verb === 'leave') yield { stream: 'stdout', data: Buffer.from('half a line') };
      if (verb === 'hang' || verb === 'leave') await new Promise(() => undefined);
      yield { stream: 'stdout', data: Buffer.from(words.join(' ')) };
    }
    return Promise.resolve({
      output: output(),
      exit,
      write: () => Promise.resolve(),
      closeStdin: () => undefined,
      resize: () => undefined,
      kill: () => undefined,
      close: () => this.closed.push(request.argv.join(' ')),
    });
  }
}

describe('hooks', () => {
  let container: Container;
  beforeEach(() => (container = new Container()));
  const run = (...hooks: ReturnType<typeof hook>[]): Promise<string> =>
    runHooks(container, ID, 'post_start', hooks, new VirtualClock(), new AbortController().signal);

  it('are run one after the other, as they say', async () => {
    assert.equal(await run(hook('exit', '0'), hook('exit', '0', 'fine')), '');
    assert.deepEqual(container.closed, ['exit 0', 'exit 0 fine']);
    const { argv, env, user, workingDir, privileged, tty, stdin } = container.ran[0] ?? assert.fail();
    assert.deepEqual([argv, env, user, workingDir, privileged, tty, stdin], [['exit', '0'], ['A=1'], 'u', '/w', true, false, false]); // prettier-ignore
  });

  it('end with the first that fails, and say what it said', async () => {
    const reason = await run(hook('exit', '3', 'no', 'disk'), hook('exit', '0'));
    assert.equal(reason, 'post_start hook "exit 3 no disk": it ended with exit code 3: no disk');
    assert.equal(container.ran.length, 1);
  });

  it('leave what they say in the log, marked; and why they failed', async () => {
    await run(hook('exit', '0', 'one\ntwo'), hook('exit', '3', 'no disk'));
    assert.deepEqual(container.log, [
      'stdout [post_start] one',
      'stdout [post_start] two',
      'stdout [post_start] no disk',
      'stderr [post_start] "exit 3 no disk": it ended with exit code 3',
    ]);
    container.log.length = 0;
    await run(hook('missing'));
    assert.deepEqual(container.log, ['stderr [post_start] "missing": no such file or directory']);
  });

  it('end with their own end, also when what they left behind holds their output', async () => {
    const clock = new VirtualClock();
    const signal = new AbortController().signal;
    const running = runHooks(container, ID, 'post_start', [hook('leave', '0')], clock, signal);
    await settle();
    await clock.advance(200);
    assert.equal(await running, '');
    assert.deepEqual(container.log, ['stdout [post_start] half a line']);
  });

  it('fail when the command cannot be run', async () => {
    assert.equal(await run(hook('missing')), 'post_start hook "missing": no such file or directory');
  });

  it('end when they shall, and the command with them', async () => {
    const end = new AbortController();
    const running = runHooks(container, ID, 'pre_stop', [hook('hang'), hook('exit')], new VirtualClock(), end.signal);
    end.abort(new Error('the stop grace period is over'));
    assert.equal(await running, 'pre_stop hook "hang": the stop grace period is over');
    assert.deepEqual(container.closed, ['hang']);
    assert.equal(container.ran.length, 1);
  });

  it('are not begun when it is over already', async () => {
    const reason = await runHooks(
      container,
      ID,
      'pre_stop',
      [hook('hang')],
      new VirtualClock(),
      AbortSignal.abort(new Error('over')),
    );
    assert.equal(reason, 'pre_stop hook "hang": over');
    assert.equal(container.ran.length, 0);
  });
});
