import type { Clock } from '../../base/clock.ts';
import { newId } from '../../base/ids.ts';
import type { ClusterId, NodeId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type { Cluster, NodeAvailability, NodeDescription } from '../../proto/types/index.ts';
import { DEFAULT_POOL_PREFIX, checkAddressPools } from '../cluster/address-pools.ts';
import { withAutolock } from '../cluster/autolock/settings.ts';
import { DEFAULT_HISTORY_LIMIT, withSettings } from '../cluster/spec.ts';
import type { ClusterSettings } from '../cluster/spec.ts';
import type { Store } from '../store/types.ts';
import type { Founding } from './founding.ts';
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
  /** Prefix length of subnets cut from them; absent: 24. */
  readonly addressPoolPrefix?: number;
  /** A root that the user brings (readExternalRoot); absent: one is made. */
  readonly root?: RootCa;
  /** The cluster that external CAs have certified the first manager for (founding.ts); absent: it begins here. */
  readonly founding?: Founding;
  /** Settings other than the usual ones. */
  readonly settings?: ClusterSettings;
  /** Of the first manager; absent: active. */
  readonly availability?: NodeAvailability;
  /** UDP port of overlay networks; absent: the usual one. */
  readonly dataPathPort?: number;
}

/**
 * Makes the cluster and its first manager in an empty store, as one transaction; a store that has them is left alone.
 * @throws INVALID_INPUT for settings that are not possible
 */
export async function bootstrapCluster(options: BootstrapOptions): Promise<Cluster> {
  const { store, nodeId } = options;
  const known = store.view((tx) => tx.list('cluster')[0]);
  if (known !== undefined) return known;
  const { founding } = options;
  const cluster = founding?.cluster ?? (await newCluster(options));
  const { meta } = cluster;
  await store.update((tx) => {
    tx.create('cluster', cluster);
    tx.create('node', {
      id: nodeId,
      meta,
      spec: { role: 'manager', availability: options.availability ?? 'active', labels: {} },
      description: options.description,
      status: { state: 'unknown', message: '', address: '' },
      ...(founding === undefined ? {} : { certificate: founding.certificate }),
    });
  });
  return cluster;
}

/**
 * A cluster as it begins; it is stored nowhere.
 * @throws INVALID_INPUT for settings that are not possible
 */
export async function newCluster(
  options: Pick<
    BootstrapOptions,
    'clock' | 'random' | 'addressPools' | 'addressPoolPrefix' | 'root' | 'settings' | 'dataPathPort'
  >,
): Promise<Cluster> {
  const { clock, random, settings = {} } = options;
  const { addressPools, addressPoolPrefix = DEFAULT_POOL_PREFIX } = options;
  checkAddressPools(addressPools, addressPoolPrefix);
  const now = clock.now();
  const id = newId<ClusterId>(random);
  const root = options.root ?? (await createRootCa(id, now));
  const spec = {
    name: 'default',
    taskHistoryLimit: DEFAULT_HISTORY_LIMIT,
    addressPools,
    addressPoolPrefix,
    ...(options.dataPathPort === undefined ? {} : { dataPathPort: options.dataPathPort }),
  };
  const bare: Cluster = {
    id,
    meta: { version: 0, createdAt: now, updatedAt: now },
    spec: withSettings(spec, settings),
    joinTokens: { worker: newJoinToken(root.certificate, random), manager: newJoinToken(root.certificate, random) },
    rootCaCertificate: root.certificate,
    rootCaKey: root.key,
  };
  return withAutolock(bare, settings, random);
}
