import assert from 'node:assert/strict';
import type { LogEntry, LogsRequest, Task } from '../../../proto/types/index.ts';
import type { NodeClient } from '../../local-node/index.ts';
import { LogLines, plainStyle } from '../../render/index.ts';
import { service, show, task } from '../../../test/builders/objects.ts';
import { ProjectView } from '../project/view.ts';
import type { ProjectWatch } from '../project/watch.ts';
import { followLogs } from './follow.ts';
import { mergeByTime } from './merge.ts';

const at = (second: number): string => `2026-01-31T12:00:${String(second).padStart(2, '0')}.000000000Z`;
const entry = (second: number, text: string): LogEntry => ({
  stream: 'stdout',
  time: at(second),
  data: Buffer.from(`${text}\n`),
});

/** A node's logs in memory: each task's entries, until its container has ended. */
class Logs {
  readonly requests: LogsRequest[] = [];
  readonly #entries = new Map<string, LogEntry[]>();
  readonly #ended = new Map<string, PromiseWithResolvers<void>>();

  add(id: string, ...entries: readonly LogEntry[]): void {
    this.#entries.set(id, [...(this.#entries.get(id) ?? []), ...entries]);
  }
  end(id: string): void {
    this.#end(id).resolve();
  }
  #end(id: string): PromiseWithResolvers<void> {
    const known = this.#ended.get(id) ?? Promise.withResolvers<void>();
    this.#ended.set(id, known);
    return known;
  }
  async *logs(request: LogsRequest): AsyncIterable<LogEntry> {
    this.requests.push(request);
    await this.#end(request.taskId).promise;
    for (const one of this.#entries.get(request.taskId) ?? []) if (Date.parse(one.time) >= request.since) yield one;
  }
}

async function followed(change: (logs: Logs, view: ProjectView, changed: () => void) => Promise<void> | void) {
  const view = new ProjectView();
  const logs = new Logs();
  let changed: () => void = () => undefined;
  const watch: ProjectWatch = {
    view,
    until: () => Promise.reject(new Error('not asked')),
    onChange: (listener) => (changed = listener),
    close: () => undefined,
  };
  let text = '';
  const follower = followLogs({
    tasks: logs as unknown as NodeClient['tasks'],
    watch,
    lines: new LogLines({ style: plainStyle, withPrefix: true, withTime: false, sources: [] }),
    write: (_stream, piece) => (text += piece),
    warn: (message) => (text += `warning: ${message}\n`),
    wanted: () => true,
    history: () => ({ tail: -1, since: 0 }),
    tellExits: true,
    signal: new AbortController().signal,
  });
  await change(logs, view, () => changed());
  await follower.drained();
  return { text, requests: logs.requests };
}

describe('following logs', () => {
  const web = service('web');
  const running = task(web, 1);
  const over = (of: Task): Task => ({ ...of, status: { ...of.status, state: 'failed', exitCode: 3 } });

  it('shows a container to its end, then its exit code, once', async () => {
    const { text, requests } = await followed((logs, view, changed) => {
      logs.add(running.id, entry(1, 'hello'));
      show(view, { services: [web], tasks: [running] });
      changed();
      changed();
      logs.end(running.id);
      show(view, { tasks: [over(running)] });
      changed();
    });
    assert.equal(text, 'web-1  | hello\nweb-1 exited with code 3\n');
    assert.equal(requests.length, 1);
  });

  it('shows a container that ended before anybody looked', async () => {
    const { text } = await followed((logs, view, changed) => {
      logs.add(running.id, entry(1, 'short'));
      logs.end(running.id);
      show(view, { services: [web], tasks: [over(running)] });
      changed();
    });
    assert.equal(text, 'web-1  | short\nweb-1 exited with code 3\n');
  });

  it('goes on with the next task of a restart, without the lines that it inherits', async () => {
    const next = task(web, 1, {}, { id: 'next' as Task['id'], predecessor: running.id });
    const { text } = await followed(async (logs, view, changed) => {
      logs.add(running.id, entry(1, 'first'));
      logs.end(running.id);
      show(view, { services: [web], tasks: [over(running)] });
      changed();
      await new Promise((resolve) => setImmediate(resolve));
      logs.add('next', entry(1, 'first'), entry(2, 'second'));
      logs.end('next');
      show(view, { tasks: [next] });
      changed();
    });
    assert.equal(text, 'web-1  | first\nweb-1 exited with code 3\nweb-1  | second\n');
  });

  it('waits with the output of a task until it runs', async () => {
    const { requests } = await followed((_logs, view, changed) => {
      show(view, { services: [web], tasks: [task(web, 1, { state: 'starting' })] });
      changed();
    });
    assert.deepEqual(requests, []);
  });
});

describe('merging logs', () => {
  async function* stream(...values: readonly string[]): AsyncIterable<string> {
    yield* values;
  }
  it('brings what is in order into one order; of equal times the first stream is first', async () => {
    const merged: string[] = [];
    for await (const value of mergeByTime([stream('1a', '3a', '5a'), stream(), stream('2b', '3b', '4b')], (one) =>
      one.charAt(0),
    ))
      merged.push(value);
    assert.deepEqual(merged, ['1a', '2b', '3a', '3b', '4b', '5a']);
  });
});
