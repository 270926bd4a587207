import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Node } from '../../proto/types/index.ts';
import { memoryStore } from '../store/memory.ts';
import type { OpenEtcdStore } from '../store/index.ts';
import { etcdGroup } from './etcd-group.ts';

const node = (name: string, role: 'manager' | 'worker', address: string): Node => ({
  id: name as NodeId,
  meta: { version: 0, createdAt: 0, updatedAt: 0 },
  spec: { role, availability: 'active', labels: {} },
  description: {
    hostname: name,
    platform: { os: 'linux', architecture: 'amd64' },
    resources: { nanoCpus: 1, memoryBytes: 1 },
    engine: { version: '1', labels: {} },
  },
  status: { state: 'ready', message: '', address },
});

describe('the managers over an external etcd', () => {
  /** A group of the nodes, seen from "a", while the named managers are up. */
  const groupOf = async (nodes: readonly Node[], up: readonly string[]) => {
    const store = memoryStore({ now: () => 0 });
    await store.update((tx) => nodes.forEach((one) => tx.create('node', one)));
    const present = new Map(up.map((id) => [id, { id, address: `${id}:1` }]));
    const opened: Pick<OpenEtcdStore, 'leadership' | 'managers' | 'onMembership' | 'resign'> = {
      leadership: {
        status: () => ({ ready: true, leaderId: 'a', servers: [] }),
        confirmLead: () => Promise.resolve(),
        observe: () => () => undefined,
      },
      managers: () => present,
      onMembership: () => () => undefined,
      resign: () => Promise.resolve(),
    };
    return etcdGroup({ ...opened, store } as unknown as OpenEtcdStore, 'a' as NodeId);
  };
  const three = [
    node('a', 'manager', ''),
    node('b', 'manager', 'b:7'),
    node('c', 'manager', 'c:7'),
    node('w', 'worker', ''),
  ];
  const conflict = (message: RegExp) => (error: unknown) =>
    isTsswarmError(error, 'CONFLICT') && message.test(error.message) && error.hint !== undefined;

  it('are the nodes that are to be managers and have come; who is up is reachable', async () => {
    const group = await groupOf([...three, node('soon', 'manager', '')], ['a', 'b', 'w']);
    assert.deepEqual(group.status(), {
      leaderId: 'a',
      members: [
        { id: 'a', address: 'a:1', voter: true, reachable: true },
        { id: 'b', address: 'b:7', voter: true, reachable: true },
        { id: 'c', address: 'c:7', voter: true, reachable: false },
      ],
    });
  });

  it('can do without one as long as any other is up', async () => {
    const group = await groupOf(three, ['a', 'b']);
    for (const id of ['a', 'b', 'c', 'w']) group.demandWithout(id as NodeId, 'leaving');
    const alone = await groupOf(three, ['a']);
    alone.demandWithout('b' as NodeId, 'leaving');
    assert.throws(() => alone.demandWithout('a' as NodeId, 'leaving'), conflict(/leaving: no other manager is up/));
  });

  it('cannot do without the last', async () => {
    const group = await groupOf([node('a', 'manager', ''), node('w', 'worker', '')], ['a']);
    assert.throws(() => group.demandWithout('a' as NodeId, 'leaving'), conflict(/it is the last manager/));
  });
});
