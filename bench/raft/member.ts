import { systemClock } from '../../base/clock.ts';
import { silentLogger } from '../../base/log.ts';
import { systemRandom } from '../../base/random.ts';
import { createRaftTransport } from '../../manager/raft/transport/server.ts';
import type { Server, Transport } from '../../manager/raft/types.ts';
import { createLiveIdentity } from '../../proto/rpc/live-identity.ts';
import type { TlsIdentity } from '../../proto/rpc/live-identity.ts';
import { createRpcServer } from '../../proto/rpc/server.ts';
import { raftService } from '../../proto/rpc/services.ts';

/** What a process needs to be one member of several. */
export interface MemberFile {
  readonly id: string;
  readonly servers: readonly Server[];
  readonly identity: TlsIdentity;
  /** Where it answers etcd's calls. */
  readonly clientPort: number;
}

export interface Peers {
  /** Goes to openStore. */
  readonly raft: {
    readonly id: string;
    readonly address: string;
    readonly transport: Transport;
    readonly bootstrap: { readonly servers: readonly Server[] };
  };
  close(): void;
}

/** Listens to the other members with mutual TLS, by the transport that the product uses. */
export async function joinPeers({ id, servers, identity: files }: MemberFile): Promise<Peers> {
  const identity = createLiveIdentity(files);
  const address = servers.find((server) => server.id === id)?.address ?? '';
  const options = { identity, clock: systemClock, random: systemRandom, logger: silentLogger };
  const transport = createRaftTransport(options);
  const server = createRpcServer();
  server.add(raftService, transport.handlers);
  const everyoneStands = { isRemoved: () => false, isDemoted: () => false, onChange: () => () => undefined };
  await server.listenTls(address, { identity, clock: systemClock, ...everyoneStands });
  return { raft: { id, address, transport, bootstrap: { servers } }, close: () => server.close() };
}
