import { raftGroup } from '../../../manager/cluster/raft-group.ts';
import { runUpkeepLoop } from '../../../manager/cluster/upkeep/loop.ts';
import { createRaftTransport } from '../../../manager/raft/transport/server.ts';
import { openStore } from '../../../manager/store/index.ts';
import type { StoreStatus } from '../../../proto/types/index.ts';
import type { BackEnd, BackEndOptions } from './back-end.ts';

/** Nothing more to tell of it: its members are the managers. */
const RAFT: StoreStatus = { kind: 'raft', place: '', members: [], problem: '' };

/** The managers keep the state themselves, each on its own disk, and decide by Raft. @throws what openStore throws */
export async function openRaftBackEnd(options: BackEndOptions): Promise<BackEnd> {
  const { nodeId, dir, advertiseAddr, isFirst, clock, random, logger, onFatal } = options;
  const transport = createRaftTransport({
    clock,
    random,
    logger: logger.child({ component: 'raft' }),
    get identity() {
      return options.identity();
    },
  });
  const { store, raft, reseal, close } = await openStore({
    dir,
    vault: options.vault(),
    forceNewCluster: options.forceNewCluster,
    id: nodeId,
    address: advertiseAddr,
    transport,
    // Only the first manager of all begins a cluster; whoever has an identity got it from one.
    ...(isFirst ? {} : { bootstrap: 'join' as const }),
    clock,
    random,
    logger,
    onFatal,
  });
  return {
    store,
    leadership: raft,
    group: raftGroup(raft, clock),
    peers: transport.handlers,
    standing() {
      const self = raft.status().servers.find(({ id }) => id === nodeId);
      if (self === undefined) return 'new';
      return self.address === advertiseAddr ? 'member' : 'moved';
    },
    lead: (signal) => runUpkeepLoop({ store, raft, clock, logger }, signal),
    facts() {
      const { role, term, commitIndex } = raft.status();
      const storeVersion = store.view((tx) => tx.version);
      return Promise.resolve({ raftState: role, raftTerm: term, raftCommit: commitIndex, storeVersion, store: RAFT });
    },
    reseal,
    access: () => undefined,
    // A group of one leads from the start.
    whenMayFound: () => Promise.resolve(),
    founded: () => undefined,
    // What there is lies in the state directory, which goes.
    giveUp: () => Promise.resolve(),
    close,
  };
}
