import { sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { isTsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Raft } from '../raft/types.ts';
import type { ManagerGroup } from './group.ts';
import { demandQuorumWithout } from './quorum.ts';

/** How long another change of members is waited for. */
const PATIENCE_MS = 15_000;
const LOOK_EVERY_MS = 50;

/** The managers as members of Raft: each has the log, and more than half of them decide. */
export function raftGroup(raft: Raft, clock: Clock): ManagerGroup {
  const find = (id: NodeId) => raft.status().servers.find((server) => server.id === id);
  /** Another change of members may be under way: one at a time. */
  const inTurn = async (change: () => Promise<void>, signal: AbortSignal): Promise<void> => {
    const deadline = clock.monotonic() + PATIENCE_MS;
    for (;;) {
      try {
        return await change();
      } catch (error) {
        const waits = isTsswarmError(error, 'CONFLICT') || isTsswarmError(error, 'UNAVAILABLE');
        if (!waits || clock.monotonic() >= deadline) throw error;
        await sleep(clock, LOOK_EVERY_MS, signal);
      }
    }
  };
  return {
    status() {
      const { leaderId, servers } = raft.status();
      return { leaderId, members: servers };
    },
    onChange: (listener) =>
      raft.observe((event) => {
        if (event.kind === 'membership') listener();
      }),
    async admit(id, address, signal) {
      const known = find(id);
      if (known !== undefined && known.address !== address) await inTurn(() => raft.updateAddress(id, address), signal);
      // Somebody may have been faster with the same.
      await inTurn(
        () => (find(id) === undefined ? raft.addServer({ id, address, voter: true }) : Promise.resolve()),
        signal,
      );
      if (find(id)?.voter === false) await raft.promoteServer(id);
    },
    async remove(id, signal) {
      if (find(id) !== undefined) await inTurn(() => raft.removeServer(id), signal);
    },
    handOver: () => raft.transferLeadership(),
    demandWithout: (id, action) => demandQuorumWithout(raft.status(), id, action),
  };
}
