import assert from 'node:assert/strict';
import type { NodeId } from '../../base/ids.ts';
import { isLive } from '../../manager/model/task-state.ts';
import type { NodeBindSources, ServiceSpec, Task } from '../../proto/types/index.ts';
import { project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster, FakeNode, Script } from '../fakes/cluster.ts';

const SITE = '/srv/site';
const has: NodeBindSources = { present: [SITE], missing: [] };
const lacks: NodeBindSources = { present: [], missing: [SITE] };
const takes: Script = ({ specVersion }) => ({ applied: { specVersion, how: 'live', reason: 'added a mount' } });

const web = (source?: string, rest: Partial<ServiceSpec> = {}): ServiceSpec => {
  const { container } = taskSpec();
  const bind = {
    type: 'bind',
    target: '/site',
    readOnly: true,
    propagation: 'rprivate',
    createHostPath: true,
  } as const;
  const mounts = source === undefined ? [] : [{ ...bind, source }];
  return serviceSpec('web', { task: taskSpec({ container: { ...container, mounts } }), ...rest });
};

describe('containers with paths of their nodes', () => {
  let cluster: FakeCluster;
  let second: FakeNode;
  beforeEach(async () => {
    cluster = await fakeCluster(undefined, undefined, 0, takes);
    second = await cluster.join('two');
  });
  afterEach(() => cluster.close());

  const say = async (id: string, bindSources: NodeBindSources): Promise<void> => {
    await cluster.store.update((tx) => {
      const node = tx.get('node', id as NodeId);
      assert.ok(node);
      tx.update('node', { ...node, bindSources });
    });
    await cluster.clock.advance(100);
  };
  const current = (): Task => {
    const live = cluster.tasks('web').filter(isLive);
    assert.equal(live.length, 1);
    return live[0] as Task;
  };

  it('are not given up with their node where no other one has them, and are found again', async () => {
    await say('node-one', lacks);
    await say(second.nodeId, has);
    await cluster.apply(project([web(SITE)]));
    const before = current();
    assert.equal(before.nodeId, second.nodeId);
    second.vanish();
    await cluster.clock.advance(120_000);
    assert.equal(current().id, before.id);
    assert.equal(current().status.state, 'running');
    // Somebody copies the folder.
    await say('node-one', has);
    await cluster.clock.advance(120_000);
    assert.equal(current().nodeId, 'node-one');
  });

  for (const [where, facts, how] of [
    ['its node has', [has, lacks], 'live'],
    ['nobody has', [lacks, lacks], 'live'],
    ['another node has', [lacks, has], 'replaced'],
  ] as const) {
    it(`get a path that ${where} when all nodes have said whether they have it`, async () => {
      await cluster.apply(project([web()]));
      const before = current();
      const [own, other] = before.nodeId === 'node-one' ? ['node-one', 'node-two'] : ['node-two', 'node-one'];
      await say(own, { present: [], missing: [] });
      await say(other, facts[1]);
      await cluster.apply(project([web(SITE)]));
      assert.deepEqual([current().id, current().specVersion], [before.id, before.specVersion], 'nothing is done yet');
      await say(own, facts[0]);
      await cluster.clock.advance(1000);
      assert.equal(current().status.applied?.how, how);
      assert.equal(current().nodeId, how === 'live' ? own : other);
      if (how === 'replaced') assert.equal(current().instead, `"${SITE}" is on another node`);
    });
  }
});
