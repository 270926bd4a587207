import { sleep } from '../../../base/async.ts';
import { TsswarmError } from '../../../base/errors.ts';
import { etcdGroup } from '../../../manager/cluster/etcd-group.ts';
import { storeUrl } from '../../../manager/store/etcd/access.ts';
import { connectEtcd } from '../../../manager/store/etcd/client.ts';
import { demandUsable, inspectMembers, isUsable } from '../../../manager/store/etcd/members.ts';
import { openEtcdStore } from '../../../manager/store/etcd/store.ts';
import type { ReadTransaction } from '../../../manager/store/index.ts';
import type { EtcdAccess } from '../../../proto/types/index.ts';
import type { BackEnd, BackEndOptions } from './back-end.ts';

/** How long a new cluster's first manager waits to lead, and for an etcd that does not answer. */
const FOUND_MS = 20_000;
const OPEN_MS = 10_000;
/** How long one that can do without waits all the same. */
const WAIT_MS = 5_000;
const LOOK_EVERY_MS = 50;
const REMOVED = 'this node was removed from the cluster: "tsswarm leave --force", then it can join again';
/** How long `tsswarm status` waits for a member of etcd. */
const STATUS_MS = 1_000;

export interface EtcdBackEndOptions extends BackEndOptions {
  readonly access: EtcdAccess;
  /** Whether this manager has been one of this store's before. */
  readonly wasMember: boolean;
  /** Whether it may start while etcd is away: nobody is there to see an error. */
  readonly mayWait: boolean;
}

/**
 * An external etcd keeps the state and says who leads.
 * @throws UNAVAILABLE, PERMISSION_DENIED, NOT_SUPPORTED; ALREADY_EXISTS or CONFLICT when the prefix holds something else
 */
export async function openEtcdBackEnd(options: EtcdBackEndOptions): Promise<BackEnd> {
  const { nodeId, advertiseAddr, isFirst, wasMember, mayWait, clock, random, logger, access } = options;
  const place = storeUrl(access);
  if (!mayWait) demandUsable(access, await inspectMembers(access, clock));
  let isFounding = isFirst;
  const refusal = (tx: ReadTransaction): TsswarmError | undefined => {
    const cluster = tx.list('cluster')[0];
    if (isFounding) {
      // A first start that was cut short has left this node there.
      if (cluster === undefined || tx.get('node', nodeId) !== undefined) return undefined;
      return new TsswarmError('ALREADY_EXISTS', `using "${place}": it holds the cluster "${cluster.id}" already`, {
        hint: `join that one ("tsswarm join-token manager" on a manager says how), or name another prefix: ${place}-2; of a cluster that is gone for good, remove what is left: etcdctl del --prefix ${access.prefix}`,
      });
    }
    const own = options.identity().node.clusterId;
    if (cluster?.id === own) return undefined;
    const found = cluster === undefined ? 'no cluster is there' : `it holds the cluster "${cluster.id}"`;
    return new TsswarmError('CONFLICT', `using "${place}": ${found}, and this node belongs to "${own}"`, {
      hint: 'stop the node, and start it with the URL of its own store: tsswarm init --store etcd://…/<prefix>',
    });
  };
  const opened = await openEtcdStore({
    client: connectEtcd({ ...access, clock }),
    prefix: access.prefix,
    id: nodeId,
    address: advertiseAddr,
    clock,
    random,
    logger,
    refusal,
    // Who was demoted or removed still knows the way to etcd.
    mayLead: (tx) => tx.list('cluster').length === 0 || tx.get('node', nodeId)?.spec.role === 'manager',
    mayWait,
    openTimeoutMs: mayWait ? WAIT_MS : OPEN_MS,
  });
  const { store, leadership } = opened;
  const group = etcdGroup(opened, nodeId);
  return {
    store,
    leadership,
    group,
    peers: {
      messages: () => {
        throw new TsswarmError('NOT_SUPPORTED', 'taking messages of Raft: this cluster keeps its state in etcd');
      },
      ping: () => Promise.resolve({ nodeId: options.identity().node.nodeId }),
    },
    access: () => access,
    async whenMayFound() {
      const deadline = clock.monotonic() + FOUND_MS;
      while (!leadership.status().ready) {
        const refused = store.view(refusal);
        if (refused !== undefined) throw refused;
        if (clock.monotonic() > deadline) {
          const reason = leadership.trouble?.()?.reason ?? 'another manager holds the lead there';
          throw new TsswarmError('UNAVAILABLE', `beginning a cluster in "${place}": ${reason}`);
        }
        await sleep(clock, LOOK_EVERY_MS);
      }
      const refused = store.view(refusal);
      if (refused !== undefined) throw refused;
    },
    founded: () => void (isFounding = false),
    standing() {
      const self = store.view((tx) => tx.get('node', nodeId));
      if (self?.status.address === advertiseAddr) return 'member';
      return isFirst || wasMember ? 'moved' : 'new';
    },
    async facts() {
      const members = await inspectMembers(access, clock, STATUS_MS);
      const { ready, leaderId } = leadership.status();
      const isRemoved = store.view((tx) => tx.list('cluster').length > 0 && tx.get('node', nodeId) === undefined);
      const silence = leaderId === '' ? (leadership.trouble?.()?.reason ?? '') : '';
      const trouble = isRemoved ? REMOVED : silence;
      return {
        raftState: ready ? 'leader' : 'follower',
        raftTerm: opened.token(),
        raftCommit: 0,
        storeVersion: store.view((tx) => tx.version),
        store: {
          kind: 'etcd',
          place,
          members: members.map(({ clusterId: _, ...member }) => member),
          problem: isUsable(members)
            ? trouble
            : 'no member of etcd can be used: changes are refused, containers run on',
        },
      };
    },
    // There is nothing of the state on this disk.
    reseal: undefined,
    giveUp: () => opened.wipe(),
    close: () => opened.close(),
  };
}
