import assert from 'node:assert/strict';
import { isTsswarmError } from '../../../base/errors.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Node, Task } from '../../../proto/types/index.ts';
import { T0, service, task } from '../../../test/builders/objects.ts';
import { A_DESCRIPTION } from '../../../test/builders/ca-cluster.ts';
import { renderNodeTasks } from '../commands/node-ps.ts';
import { filterNodes, filterTasks } from './filters.ts';

const node = (id: string, hostname: string, spec: Partial<Node['spec']> = {}): Node => ({
  id: id as NodeId,
  meta: { version: 1, createdAt: T0, updatedAt: T0 },
  spec: { role: 'worker', availability: 'active', labels: {}, ...spec },
  description: { ...A_DESCRIPTION, hostname },
  status: { state: 'ready', message: '', address: '' },
});
const NODES = [
  node('abc', 'm1', { role: 'manager', labels: { zone: 'b', disk: 'ssd' } }),
  node('abd', 'm10', { labels: { disk: 'ssd' } }),
  node('xyz', 'w1'),
];
const ids = (...filters: readonly string[]): string =>
  filterNodes(NODES, filters)
    .map(({ id }) => id)
    .join();
const refuses = (work: () => unknown, reason: RegExp): void =>
  assert.throws(work, (error) => {
    assert.ok(isTsswarmError(error, 'INVALID_INPUT'));
    assert.match(error.message, reason);
    return true;
  });

describe('filters', () => {
  it('of one key are alternatives, of several keys conditions, of labels all conditions', () => {
    assert.equal(ids(), 'abc,abd,xyz');
    assert.equal(ids('id=ab'), 'abc,abd');
    assert.equal(ids('name=m1', 'name=w'), 'abc,abd,xyz');
    assert.equal(ids('id=ab', 'role=worker'), 'abd');
    assert.equal(ids('label=disk=ssd'), 'abc,abd');
    assert.equal(ids('label=disk', 'node.label=zone=b'), 'abc');
    assert.equal(ids('membership=accepted'), 'abc,abd,xyz');
    assert.equal(ids('membership=pending'), '');
  });

  it('that cannot be are refused', () => {
    refuses(() => ids('colour=red'), /the key "colour" is not known, keys are id, label/);
    refuses(() => ids('role'), /expected <key>=<value>/);
    refuses(() => ids('role=boss'), /using --filter "role=boss": expected one of manager, worker/);
    refuses(() => filterTasks([], ['desired-state=happy']), /expected one of ready, running, shutdown, remove/);
  });
});

describe('tasks of a node', () => {
  const web = service('web');
  const one = task(
    web,
    1,
    {},
    { nodeId: 'abc' as NodeId, ports: [{ target: 80, published: 8080, protocol: 'tcp', mode: 'host', hostIp: '' }] },
  );
  const older = task(
    web,
    1,
    { state: 'failed', error: 'exit code 7, and a long story about how it came to that' },
    {
      id: 'older-task-with-a-long-id' as never,
      nodeId: 'abc' as NodeId,
      desiredState: 'shutdown',
      meta: { version: 1, createdAt: T0 - 5000, updatedAt: T0 },
    },
  );
  const shown = (options: object): string[] =>
    renderNodeTasks([older, one], NODES, T0 + 3000, { trunc: true, resolve: true, ...options }).split('\n');

  it('stand below each other by slot, as docker has it', () => {
    const [, first, second] = shown({});
    assert.match(first ?? '', /^app-web-1-a +app-web-1 +\S+ +m1 +Running +Running 3 seconds ago +\*:8080->80\/tcp$/);
    assert.match(
      second ?? '',
      /^older-task-w +\\_ app-web-1 +\S+ +m1 +Shutdown +Failed 3 seconds ago +"exit code 7, and a long story…"$/,
    );
  });

  it('say what they wait for, and nothing of steps that pass in an instant', () => {
    const error = (status: Partial<Task['status']>, change: Partial<Task> = {}): string => {
      const options = { trunc: false, resolve: true, format: '{{.Error}}' };
      return renderNodeTasks([task(web, 1, status, change)], NODES, T0, options);
    };
    const noNode = 'no suitable node: 1 of 1 does not match node.labels.a==b';
    assert.equal(error({ state: 'pending', message: noNode }), `"${noNode}"\n`);
    assert.equal(
      error({ state: 'new', message: 'network "n" has no free address' }),
      '"network "n" has no free address"\n',
    );
    assert.equal(error({ state: 'new', message: 'waiting for "db"' }, { held: true }), '"waiting for "db""\n');
    assert.equal(error({ state: 'new', message: 'created' }), '\n');
    assert.equal(error({ state: 'pending', message: 'allocated' }), '\n');
    assert.equal(error({ state: 'running', message: 'whatever' }), '\n');
  });

  it('take other forms', () => {
    assert.deepEqual(shown({ quiet: true }), ['app-web-1-a', 'older-task-w', '']);
    assert.deepEqual(shown({ trunc: false, resolve: false, format: '{{.ID}} {{.Name}} {{.Node}}' }), [
      'app-web-1-a app-web-1 abc',
      'older-task-with-a-long-id app-web-1 abc',
      '',
    ]);
    assert.equal((JSON.parse(shown({ format: 'json' })[1] ?? '') as { DesiredState: string }).DesiredState, 'Shutdown');
  });
});
