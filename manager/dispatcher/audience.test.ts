import assert from 'node:assert/strict';
import type { NetworkId, NodeId, TaskId } from '../../base/ids.ts';
import { seededRandom } from '../../base/random.ts';
import type { AssignmentSet, PublishedPort, Task } from '../../proto/types/index.ts';
import { network, node, service, task } from '../../test/builders/objects.ts';
import { networkSpec, serviceSpec, taskSpec } from '../../test/builders/specs.ts';
import { VirtualClock, settle } from '../../test/fakes/virtual-clock.ts';
import { memoryStore } from '../store/memory.ts';
import type { Store, StoreCommit, WriteTransaction } from '../store/types.ts';
import { assignmentSet } from './assignment-set.ts';
import { Audience, reachOf } from './audience.ts';
import { difference } from './difference.ts';
import { SharedSets } from './shared.ts';

const NODES = ['n1', 'n2', 'n3', 'n4'] as NodeId[];
const PORT: PublishedPort = { protocol: 'tcp', hostIp: '', published: 80, target: 80, mode: 'ingress' };
const STATES = ['pending', 'assigned', 'preparing', 'running', 'running', 'failed', 'remove'] as const;
const DESIRED = ['ready', 'running', 'running', 'shutdown', 'remove'] as const;

describe('who is told of a commit', () => {
  it('is everybody whose assignments are different after it', async () => {
    let told = 0;
    let different = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const store = memoryStore(new VirtualClock());
      const random = seededRandom(seed);
      const pick = <T>(of: readonly T[]): T => of[Math.floor(random.next() * of.length)] as T;
      await store.update((tx) => {
        for (const id of NODES) tx.create('node', node(id));
        for (const name of ['a', 'b'])
          tx.create('network', network(name, { spec: { ...networkSpec(name), driver: 'overlay' }, vni: 4096 }));
        tx.create('network', network('local'));
        tx.create('service', service('web', { ports: [PORT] }));
        tx.create('service', service('db', {}, { ...serviceSpec('db') }));
      });
      for (let step = 0; step < 150; step++) {
        const before = await views(store);
        const { watch } = store.viewAndWatch(() => undefined);
        await store.update((tx) => {
          for (let n = 1 + Math.floor(random.next() * 2); n > 0; n--) change(tx, pick, step * 10 + n);
        });
        watch.close();
        const commit = await lastCommit(store, before.version);
        if (commit === undefined) continue;
        const reach = store.view((tx) => reachOf(commit.changes, tx));
        const after = await views(store);
        for (const id of NODES) {
          const was = before.sets.get(id) as AssignmentSet;
          const networks = new Set<NetworkId>(was.networks.map((known) => known.id));
          const isTold = reach.everybody || reach.nodes.has(id) || !reach.networks.isDisjointFrom(networks);
          const found = difference(was, after.sets.get(id) as AssignmentSet, 1);
          if (isTold) told++;
          if (found === undefined) continue;
          different++;
          assert.ok(isTold, `seed ${seed}, step ${step}: ${id} ${JSON.stringify(commit.changes.map(({ id }) => id))}`);
        }
      }
    }
    assert.ok(different > 500, `only ${different} differences`);
    assert.ok(told < 8 * 150 * NODES.length, 'not always everybody');
  });

  it('is one node, where only that one has to do with it', async () => {
    const store = memoryStore(new VirtualClock());
    const [web] = [service('web')];
    await store.update((tx) => {
      for (const id of NODES) tx.create('node', node(id));
      tx.create('service', web);
      tx.create('task', task(web, 1, { state: 'starting' }, { nodeId: 'n1' as NodeId }));
    });
    const looks: string[] = [];
    const passed: number[] = [];
    const audience = new Audience(store, (version) => passed.push(version));
    const leave = NODES.map((nodeId) =>
      audience.add({ nodeId, networks: () => new Set(), look: () => void looks.push(nodeId) }),
    );
    await store.update((tx) => {
      const [known] = tx.list('task');
      if (known !== undefined) tx.update('task', { ...known, status: { ...known.status, state: 'running' } });
    });
    await settle();
    assert.deepEqual(looks, ['n1']);
    assert.deepEqual(passed, [2]);

    // What a network's card is called on a node is told to that node.
    looks.length = 0;
    await store.update((tx) => {
      const known = tx.get('node', 'n3' as NodeId);
      if (known !== undefined)
        tx.update('node', { ...known, spec: { ...known.spec, labels: { 'parent.lan': 'eth1' } } });
    });
    await settle();
    assert.deepEqual(looks, ['n3']);

    // Who comes when all have left misses nothing.
    for (const one of leave) one();
    audience.add({ nodeId: 'n2' as NodeId, networks: () => new Set(), look: () => void looks.push('again') });
    await store.update((tx) => tx.create('task', task(web, 2, {}, { nodeId: 'n2' as NodeId })));
    await settle();
    assert.ok(looks.includes('again'));
  });
});

async function views(store: Store) {
  await settle();
  return store.view((tx) => {
    const shared = new SharedSets();
    return { version: tx.version, sets: new Map(NODES.map((id) => [id, assignmentSet(tx, id, shared)])) };
  });
}

/** The commit after `version`; undefined: nothing was changed. */
async function lastCommit(store: ReturnType<typeof memoryStore>, version: number): Promise<StoreCommit | undefined> {
  if (store.view((tx) => tx.version) === version) return undefined;
  const watch = store.watchFrom(version);
  for await (const commit of watch) {
    watch.close();
    return commit;
  }
  return undefined;
}

/** Something happens. */
function change(tx: WriteTransaction, pick: <T>(of: readonly T[]) => T, number: number): void {
  const tasks = tx.list('task');
  const kind = pick([
    'create',
    'state',
    'state',
    'health',
    'desired',
    'remove',
    'service',
    'network',
    'message',
    'node',
  ] as const);
  const known = tasks.length === 0 ? undefined : pick(tasks);
  if (kind === 'create' || known === undefined) {
    const name = pick(['a', 'b', 'local', 'none']);
    const attached = name === 'none' ? [] : [{ network: `app_${name}`, aliases: pick([[], ['x']]), ipv4Address: '' }];
    const addresses = name === 'none' ? [] : [{ networkId: `network-${name}` as NetworkId, ipv4: `10.0.0.${number}` }];
    const of = pick(tx.list('service'));
    const spec = taskSpec({ networks: attached });
    const made = { id: `t${number}` as TaskId, nodeId: pick([...NODES, '' as NodeId]), addresses, spec };
    tx.create('task', task(of, number, { state: pick(STATES) }, { ...made, desiredState: pick(DESIRED) }));
    return;
  }
  const status = (of: Partial<Task['status']>): void =>
    tx.update('task', { ...known, status: { ...known.status, ...of } });
  if (kind === 'state') status({ state: pick(STATES) });
  else if (kind === 'health') status({ health: pick(['none', 'starting', 'healthy', 'unhealthy'] as const) });
  else if (kind === 'message') status({ message: `message ${number}` });
  else if (kind === 'desired') tx.update('task', { ...known, desiredState: pick(DESIRED) });
  else if (kind === 'remove') tx.remove('task', known.id);
  else if (kind === 'node') {
    const of = pick(tx.list('node'));
    const overlay = pick([undefined, { address: `192.0.2.${number % 200}`, port: 4789 }]);
    const { overlay: _, ...rest } = of.description;
    tx.update(
      'node',
      pick([
        { ...of, description: { ...rest, ...(overlay === undefined ? {} : { overlay }) } },
        { ...of, status: { ...of.status, state: of.status.state === 'down' ? ('ready' as const) : ('down' as const) } },
        { ...of, spec: { ...of.spec, labels: { 'parent.lan': pick(['eth0', 'eth1']) } } },
      ]),
    );
  } else if (kind === 'service') {
    const of = pick(tx.list('service'));
    tx.update(
      'service',
      pick([
        { ...of, stopped: !of.stopped },
        { ...of, ports: pick([[], [{ ...PORT, published: of.spec.composeName === 'web' ? 80 : 81 }]]) },
      ]),
    );
  } else {
    const of = pick(tx.list('network'));
    tx.update('network', { ...of, pendingDelete: !of.pendingDelete });
  }
}
