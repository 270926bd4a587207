import type { Clock } from '../../base/clock.ts';
import { newId } from '../../base/ids.ts';
import type { ClusterId, NodeId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type { Cluster, NodeDescription } from '../../proto/types/index.ts';
import type { Store } from '../store/types.ts';
import { checkExpiry } from './issue.ts';
import { newJoinToken } from './join-token.ts';
import { createRootCa } from './root.ts';
import type { RootCa } from './root.ts';

export interface BootstrapOptions {
  readonly store: Store;
  readonly clock: Pick<Clock, 'now'>;
  readonly random: Random;
  readonly nodeId: NodeId;
  readonly description: NodeDescription;
  /** Subnets for networks are cut from these; empty: the default pools. */
  readonly addressPools: readonly string[];
  /** A root that the user brings (readExternalRoot); absent: one is made. */
  readonly root?: RootCa;
  /** Lifetime of node certificates, ms; absent: 90 days. */
  readonly nodeCertExpiryMs?: number;
}

/** Makes the cluster and its first manager in an empty store, as one transaction; a store that has them is left alone. */
export async function bootstrapCluster(options: BootstrapOptions): Promise<Cluster> {
  const { store, clock, random, nodeId } = options;
  const known = store.view((tx) => tx.list('cluster')[0]);
  if (known !== undefined) return known;
  const now = clock.now();
  const id = newId<ClusterId>(random);
  const root = options.root ?? (await createRootCa(id, now));
  const meta = { version: 0, createdAt: now, updatedAt: now };
  const expiry =
    options.nodeCertExpiryMs === undefined ? {} : { nodeCertExpiryMs: checkExpiry(options.nodeCertExpiryMs) };
  const cluster: Cluster = {
    id,
    meta,
    spec: {
      name: 'default',
      taskHistoryLimit: 5,
      addressPools: options.addressPools,
      addressPoolPrefix: 24,
      ...expiry,
    },
    joinTokens: { worker: newJoinToken(root.certificate, random), manager: newJoinToken(root.certificate, random) },
    rootCaCertificate: root.certificate,
    rootCaKey: root.key,
  };
  await store.update((tx) => {
    tx.create('cluster', cluster);
    tx.create('node', {
      id: nodeId,
      meta,
      spec: { role: 'manager', availability: 'active', labels: {} },
      description: options.description,
      status: { state: 'unknown', message: '', address: '' },
    });
  });
  return cluster;
}
