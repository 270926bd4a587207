import type { ClusterId, NodeId } from '../../base/ids.ts';
import { seededRandom } from '../../base/random.ts';
import { createLiveIdentity } from '../../proto/rpc/live-identity.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { createRpcServer } from '../../proto/rpc/server.ts';
import type { RpcServer } from '../../proto/rpc/server.ts';
import { caService } from '../../proto/rpc/services.ts';
import type { Cluster, NodeDescription, NodeRole } from '../../proto/types/index.ts';
import { bootstrapCluster } from '../../manager/ca/bootstrap.ts';
import { clusterOf, standing } from '../../manager/ca/cluster.ts';
import { issueCertificate, readRequest, trustedRoots } from '../../manager/ca/issue.ts';
import type { Standing } from '../../manager/ca/cluster.ts';
import { createCa, renewCertificate } from '../../manager/ca/server.ts';
import { memoryStore } from '../../manager/store/memory.ts';
import type { Store } from '../../manager/store/types.ts';
import { createCertificateRequest } from '../../worker/identity/request.ts';
import { VirtualClock } from '../fakes/virtual-clock.ts';

export const A_DESCRIPTION: NodeDescription = {
  hostname: 'testhost',
  platform: { os: 'linux', architecture: 'amd64' },
  resources: { nanoCpus: 1e9, memoryBytes: 1e9 },
  engine: { version: '0', labels: {} },
};

/** For servers that know of nobody who was removed or demoted. */
export const NOBODY: Standing = {
  isRemoved: () => false,
  isDemoted: () => false,
  onChange: () => () => undefined,
};

/** A cluster with a real CA and one manager, whose store is in memory. Certificates are checked by the real time. */
export interface CaCluster {
  readonly store: Store;
  readonly clock: VirtualClock;
  readonly ca: ReturnType<typeof createCa>;
  readonly manager: LiveIdentity;
  cluster(): Cluster;
  /** A member that did not go through the network. */
  member(role: NodeRole): Promise<LiveIdentity>;
  /** A certificate of this root that no store knows of: with another date (wall time, ms) or another cluster's name. */
  certify(role: NodeRole, change?: { readonly at?: number; readonly clusterId?: string }): Promise<LiveIdentity>;
  setRole(nodeId: NodeId, role: NodeRole): Promise<void>;
  /** A new certificate for a member, with the role that the store says. */
  renew(identity: LiveIdentity): Promise<LiveIdentity>;
  /** Serves the CA (and what `extend` adds) on 127.0.0.1 with TLS. */
  serve(extend?: (server: RpcServer) => void): Promise<{ readonly address: string; readonly server: RpcServer }>;
  close(): void;
}

export async function caCluster(seed = 1): Promise<CaCluster> {
  const clock = new VirtualClock(Date.now());
  const random = seededRandom(seed);
  const store = memoryStore(clock);
  const nodeId = `manager${seed}` as NodeId;
  await bootstrapCluster({ store, clock, random, nodeId, description: A_DESCRIPTION, addressPools: [] });
  const ca = createCa({ store, clock, random });
  const certify = async (id: NodeId): Promise<LiveIdentity> => {
    const { key, csr } = await createCertificateRequest();
    const { certificate, roots } = await renewCertificate({ store, clock }, id, csr);
    return createLiveIdentity({ key, certificate, roots });
  };
  const manager = await certify(nodeId);
  const servers: RpcServer[] = [];
  let members = 0;
  return {
    store,
    clock,
    ca,
    manager,
    cluster: () => store.view(clusterOf),
    async member(role) {
      const id = `${role}${seed}${members++}x` as NodeId;
      const meta = { version: 0, createdAt: 0, updatedAt: 0 };
      await store.update((tx) => {
        tx.create('node', {
          id,
          meta,
          spec: { role, availability: 'active', labels: {} },
          description: A_DESCRIPTION,
          status: { state: 'ready', message: '', address: '' },
        });
      });
      return certify(id);
    },
    setRole: (nodeId, role) =>
      store.update((tx) => {
        const node = tx.get('node', nodeId);
        if (node !== undefined) tx.update('node', { ...node, spec: { ...node.spec, role } });
      }),
    renew: (identity) => certify(identity.node.nodeId),
    async certify(role, { at = Date.now(), clusterId } = {}) {
      const cluster = store.view(clusterOf);
      const { key, csr } = await createCertificateRequest();
      const id = (clusterId ?? cluster.id) as ClusterId;
      const node = { nodeId: `${role}x` as NodeId, role };
      const { certificate } = await issueCertificate({ ...cluster, id }, await readRequest(csr), node, at);
      return createLiveIdentity({ key, certificate, roots: trustedRoots(cluster) });
    },
    async serve(extend) {
      const server = createRpcServer();
      server.add(caService, ca);
      extend?.(server);
      const port = await server.listenTls('127.0.0.1:0', { identity: manager, clock, ...standing(store) });
      servers.push(server);
      return { address: `127.0.0.1:${port}`, server };
    },
    close() {
      for (const server of servers) server.close();
    },
  };
}
