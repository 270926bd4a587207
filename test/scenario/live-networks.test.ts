import assert from 'node:assert/strict';
import { isLive } from '../../manager/model/task-state.ts';
import type { NetworkAttachment, Task, UpdateConfig } from '../../proto/types/index.ts';
import { networkSpec, project, serviceSpec, taskSpec } from '../builders/specs.ts';
import { fakeCluster } from '../fakes/cluster.ts';
import type { FakeCluster, Script } from '../fakes/cluster.ts';

const AT_ONCE: UpdateConfig = { parallelism: 0, delayMs: 0, order: 'stop-first', monitorMs: 0 };
const takes: Script = ({ specVersion }) => ({ applied: { specVersion, how: 'live', reason: 'changed networks' } });
const silent: Script = () => ({});
const to = (network: string, change: Partial<NetworkAttachment> = {}): NetworkAttachment => ({
  network: `app_${network}`,
  aliases: [],
  ipv4Address: '',
  ...change,
});

describe('a change of the networks of running containers', () => {
  let cluster: FakeCluster;
  const start = async (change?: Script): Promise<void> => {
    cluster = await fakeCluster(undefined, undefined, 0, change);
  };
  afterEach(() => cluster.close());

  const small = { subnet: '10.9.0.0/29' };
  const apply = (networks: readonly NetworkAttachment[], db: readonly NetworkAttachment[] = [to('back')]) => {
    const on = (name: string, list: readonly NetworkAttachment[], replicas: number) =>
      serviceSpec(name, { replicas, update: AT_ONCE, task: taskSpec({ networks: list }) });
    return cluster.apply({
      ...project([on('web', networks, 2), on('db', db, 1)]),
      networks: [
        networkSpec('front', { name: 'app_front', driver: 'overlay' }),
        networkSpec('back', { name: 'app_back', driver: 'overlay', ...small }),
      ],
    });
  };
  const web = (): readonly Task[] => cluster.tasks('web').filter(isLive);
  const ids = (): string =>
    web()
      .map(({ id }) => id)
      .join();
  const networkOf = (id: string): string =>
    cluster.store.view((tx) => tx.list('network').find((one) => one.id === id)?.spec.composeName ?? id);
  /** Which of its addresses the containers of "web" are found at: "front back". */
  const found = (): string =>
    [...cluster.node.assignments.endpoints.values()]
      .filter(({ taskId }) => taskId === web()[0]?.id)
      .map(({ networkId }) => networkOf(networkId))
      .sort()
      .join(' ');
  const addressesOf = (task: Task | undefined): string =>
    (task?.addresses ?? []).map(({ networkId }) => networkOf(networkId)).join(' ');

  it('gives them addresses first, and lets them be found there when their node has changed them', async () => {
    await start(silent);
    await apply([to('front')]);
    const before = ids();
    const plan = await apply([to('front'), to('back', { aliases: ['shop'] })]);
    assert.deepEqual(
      plan.changes.flatMap(({ effects = [] }) => effects.map(({ field, effect }) => `${field} ${effect}`)),
      ['task.networks live'],
    );
    assert.equal(addressesOf(web()[0]), 'front back');
    assert.equal(addressesOf(cluster.node.assignments.tasks.get(web()[0]?.id ?? '')), 'front back');
    assert.equal(found(), 'front');
    for (const task of web()) await cluster.say(task, takes(task));
    assert.equal(found(), 'back front');
    assert.equal(ids(), before);
    const endpoint = [...cluster.node.assignments.endpoints.values()].find(({ aliases }) => aliases.includes('shop'));
    assert.equal(networkOf(endpoint?.networkId ?? ''), 'back');
  });

  it('lets nobody find them where they leave, and gives nobody their addresses before they have left', async () => {
    await start(silent);
    await apply([to('front'), to('back')]);
    const left = web().map(({ addresses }) => addresses[1]?.ipv4);
    await apply([to('front')]);
    assert.equal(found(), 'front');
    const locations = (): readonly string[] =>
      [...cluster.node.assignments.locations.values()]
        .filter(({ taskId, ipv4 }) => left.includes(ipv4) && web().some(({ id }) => id === taskId))
        .map(({ ipv4 }) => ipv4);
    assert.equal(locations().length, 2);
    // Six addresses: the gateway's, the db's, two that are about to be free.
    await apply([to('front')], [to('back', { ipv4Address: left[0] ?? '' })]);
    assert.match(cluster.tasks('db').at(-1)?.status.message ?? '', /is taken by app-web-1/);
    for (const task of web()) await cluster.say(task, takes(task));
    assert.equal(locations().length, 0);
    assert.equal(cluster.tasks('db').at(-1)?.addresses[0]?.ipv4, left[0]);
  });

  it('replaces those that do not take it; nothing of the change is left of them', async () => {
    let first = '';
    await start((task) =>
      task.id === first ? { refused: { specVersion: task.specVersion, reason: 'no bridge' } } : takes(task),
    );
    await apply([to('front')]);
    first = web()[0]?.id ?? '';
    await apply([to('front'), to('back')]);
    assert.ok(web().every((task) => addressesOf(task) === 'front back' && task.changing === undefined));
    assert.ok(!ids().includes(first));
    assert.equal(web()[0]?.status.applied?.reason, 'no bridge');
  });

  it('waits where a network has no address left, and says so; they run on', async () => {
    await start(silent);
    await apply([to('front')], [to('back')]);
    const before = ids();
    const four = serviceSpec('many', { replicas: 4, task: taskSpec({ networks: [to('back')] }) });
    await cluster.apply({
      ...project([
        serviceSpec('web', { replicas: 2, update: AT_ONCE, task: taskSpec({ networks: [to('front')] }) }),
        serviceSpec('db', { task: taskSpec({ networks: [to('back')] }) }),
        four,
      ]),
      networks: [
        networkSpec('front', { name: 'app_front', driver: 'overlay' }),
        networkSpec('back', { name: 'app_back', driver: 'overlay', ...small }),
      ],
    });
    await apply([to('front'), to('back')]);
    const message = cluster.store.view((tx) => tx.find('service', 'name', 'app_web')[0]?.updateStatus?.message);
    assert.match(message ?? '', /waiting for container "app-web-\d": network "app_back" has no free address/);
    assert.equal(found(), 'front');
    assert.equal(ids(), before);
  });
});
