import type { Clock } from '../../base/clock.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import type { membershipService } from '../../proto/rpc/services.ts';
import type { EtcdAccess, Node, UpdateNodeRequest } from '../../proto/types/index.ts';
import { clusterOf, withRemovedNode } from '../ca/cluster.ts';
import { createAdministration } from '../ca/administration.ts';
import type { ExternalSigner } from '../ca/signer/signer.ts';
import { rotateJoinToken } from '../ca/tokens.ts';
import type { ReadTransaction, Store, WriteTransaction } from '../store/types.ts';
import { unlockKeyOf } from './autolock/settings.ts';
import { emptyNode } from './emptying/loop.ts';
import { findNode } from './find-node.ts';
import type { ManagerGroup } from './group.ts';

export interface MembershipOptions {
  readonly nodeId: NodeId;
  readonly store: Store;
  readonly group: ManagerGroup;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The way to the store, for managers that join; undefined: each keeps it itself. */
  readonly storeAccess: () => EtcdAccess | undefined;
  /** The way to external CAs; absent: there is none. */
  readonly sign?: ExternalSigner;
  /** Calls the manager at `address`. @throws when nobody, or another node, answers there */
  readonly reach: (address: string, nodeId: NodeId, signal: AbortSignal) => Promise<void>;
}

/** Handlers of the membership service, for the manager that leads. */
export function createMembership(options: MembershipOptions): ServiceHandlers<typeof membershipService> {
  const { store, group, clock, random, logger } = options;
  const takeOut = async (nodeId: NodeId, action: string, force: boolean, signal: AbortSignal): Promise<void> => {
    const { members } = group.status();
    if (!members.some(({ id }) => id === nodeId)) return;
    if (!force || members.filter(({ voter }) => voter).length === 1) group.demandWithout(nodeId, action);
    if (nodeId === options.nodeId) {
      await group.handOver();
      throw new TsswarmError('UNAVAILABLE', `${action}: it led, and has handed over now`, { hint: 'try again' });
    }
    await group.remove(nodeId, signal);
  };
  const forget = (nodeId: NodeId): Promise<void> =>
    store.update((tx) => {
      const node = tx.get('node', nodeId);
      if (node === undefined) return;
      tx.remove('node', nodeId);
      tx.update('cluster', withRemovedNode(clusterOf(tx), node, clock.now()));
    });

  return {
    ...createAdministration({ ...options, keepsState: () => options.storeAccess() === undefined }),
    listManagers: () => {
      const { members, leaderId } = group.status();
      return Promise.resolve({
        managers: members.map(({ id, address, voter, reachable }) => ({
          nodeId: id,
          address,
          voter,
          leader: id === leaderId,
          reachable,
        })),
      });
    },
    async join({ nodeId, address }, signal) {
      const id = nodeId as NodeId;
      const node = store.view((tx) => tx.get('node', id));
      if (node?.spec.role !== 'manager')
        throw new TsswarmError('PERMISSION_DENIED', `joining the managers: the node "${nodeId}" is not to be one`, {
          hint: `make it one: tsswarm node promote ${nodeId}`,
        });
      const known = group.status().members.find((member) => member.id === nodeId);
      if (id !== options.nodeId && known?.address !== address) {
        try {
          await options.reach(address, id, signal);
        } catch (cause) {
          throw new TsswarmError(
            'UNAVAILABLE',
            `joining the managers: the leader cannot reach "${address}": ${messageOf(cause)}`,
            {
              cause,
              hint: `name an address of this machine that the others reach (--advertise-addr <host>[:<port>]), and let no firewall close port ${address.slice(address.lastIndexOf(':') + 1)}/tcp`,
            },
          );
        }
      }
      await group.admit(id, address, signal);
      await store.update((tx) => setAddress(tx, id, address));
      logger.info('manager joined', { nodeId, address });
      return {
        managers: group
          .status()
          .members.map((member) => member.address)
          .filter((known) => known !== ''),
      };
    },
    async leave({ nodeId, force }, signal) {
      const id = nodeId as NodeId;
      const action = `leaving the cluster with "${nodeId}"`;
      // What will be refused is refused before anything is stopped; who leads lets another one lead first.
      const isMember = group.status().members.some((member) => member.id === id);
      if (id === options.nodeId) await takeOut(id, action, force, signal);
      else if (isMember && !force) group.demandWithout(id, action);
      const restore = await emptyNode(options, id, signal);
      try {
        await takeOut(id, action, force, signal);
        await forget(id);
      } catch (error) {
        await restore().catch(() => undefined);
        throw error;
      }
      logger.info('node left', { nodeId });
      return {};
    },
    async updateNode(request) {
      return store.update((tx) => {
        const node = findNode(tx, request.node);
        const next = changed(node, request);
        if (JSON.stringify(next.spec) === JSON.stringify(node.spec)) return { nodeId: node.id, changed: false };
        if (node.spec.role === 'manager' && next.spec.role === 'worker') {
          const action = `demoting the manager "${node.id}"`;
          group.demandWithout(node.id, action);
          demandAnotherManager(tx, node, action);
        }
        tx.update('node', next);
        return { nodeId: node.id, changed: true };
      });
    },
    async removeNode({ node: name, force }, signal) {
      const node = store.view((tx) => findNode(tx, name));
      const action = `removing the node "${node.id}"`;
      if (node.status.state === 'ready' && !force) {
        throw new TsswarmError('IN_USE', `${action}: it is not down`, {
          hint: 'run "tsswarm leave" on it, or use --force: it is shut out then, and its tasks go elsewhere',
        });
      }
      if (node.spec.role === 'manager' && !force) {
        throw new TsswarmError('IN_USE', `${action}: it is a manager`, {
          hint: `demote it first (tsswarm node demote ${node.id}), or use --force`,
        });
      }
      await takeOut(node.id, action, false, signal);
      await forget(node.id);
      return { nodeId: node.id };
    },
    getStoreAccess() {
      const etcd = options.storeAccess();
      return Promise.resolve(etcd === undefined ? {} : { etcd });
    },
    rotateJoinToken: async ({ role }) => {
      if (role !== 'worker' && role !== 'manager')
        throw new TsswarmError(
          'INVALID_INPUT',
          `rotating the join token of "${String(role)}": expected "worker" or "manager"`,
        );
      return { token: await rotateJoinToken(store, random, role) };
    },
    getUnlockKey: () => Promise.resolve({ unlockKey: unlockKeyOf(store.view(clusterOf)) }),
  };
}

function setAddress(tx: WriteTransaction, id: NodeId, address: string): void {
  const node = tx.get('node', id);
  if (node === undefined || node.status.address === address) return;
  tx.update('node', { ...node, status: { ...node.status, address } });
}

function demandAnotherManager(tx: ReadTransaction, node: Node, action: string): void {
  if (tx.list('node').some(({ id, spec }) => id !== node.id && spec.role === 'manager')) return;
  throw new TsswarmError('CONFLICT', `${action}: it is the last manager`, {
    hint: 'promote another node first: tsswarm node promote <node>',
  });
}

function changed(node: Node, { role, availability, addLabels, removeLabels }: UpdateNodeRequest): Node {
  if (role !== undefined && role !== 'manager' && role !== 'worker')
    throw new TsswarmError('INVALID_INPUT', `using the role "${String(role)}": expected manager or worker`);
  if (availability !== undefined && !['active', 'pause', 'drain'].includes(availability)) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `using the availability "${String(availability)}": expected active, pause or drain`,
    );
  }
  const labels = Object.fromEntries(
    Object.entries({ ...node.spec.labels, ...addLabels }).filter(([name]) => !removeLabels.includes(name)),
  );
  return {
    ...node,
    spec: { role: role ?? node.spec.role, availability: availability ?? node.spec.availability, labels },
  };
}
