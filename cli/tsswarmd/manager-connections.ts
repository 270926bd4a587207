import type { NodeId } from '../../base/ids.ts';
import { connect } from '../../proto/rpc/client.ts';
import type { Connection } from '../../proto/rpc/client.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { nodeCredentials } from '../../proto/rpc/tls.ts';
import type { BackEnd } from './back-ends/back-end.ts';

export interface ManagerConnectionsOptions {
  readonly nodeId: NodeId;
  readonly group: BackEnd['group'];
  readonly identity: () => LiveIdentity;
}

/** Connections of a manager to the others, each made when it is needed and kept while that is one. */
export interface ManagerConnections {
  /** The others. */
  ids(): readonly NodeId[];
  /** Undefined: it is no manager, or nobody knows where. */
  connection(nodeId: NodeId): Connection | undefined;
  close(): void;
}

/** Connects nowhere before it is asked. */
export function managerConnections({ nodeId: self, group, identity }: ManagerConnectionsOptions): ManagerConnections {
  const open = new Map<string, { readonly address: string; readonly connection: Connection }>();
  const addresses = (): ReadonlyMap<string, string> =>
    new Map(
      group
        .status()
        .members.filter(({ id, address }) => id !== self && address !== '')
        .map(({ id, address }) => [id, address]),
    );
  const stop = group.onChange(() => {
    const current = addresses();
    for (const [id, { address, connection }] of open) {
      if (current.get(id) === address) continue;
      open.delete(id);
      connection.close();
    }
  });
  return {
    ids: () => [...addresses().keys()] as NodeId[],
    connection(nodeId) {
      const address = addresses().get(nodeId);
      if (address === undefined) return undefined;
      const known = open.get(nodeId);
      if (known !== undefined) return known.connection;
      const connection = connect(address, nodeCredentials(identity(), { nodeId }));
      open.set(nodeId, { address, connection });
      return connection;
    },
    close() {
      stop();
      for (const { connection } of open.values()) connection.close();
      open.clear();
    },
  };
}
