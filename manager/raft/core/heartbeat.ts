import { noteRound } from './lease.ts';
import type { Core } from './state.ts';
import { send, servers } from './state.ts';

/** Tells every peer that the leader lives, apart from the log so that no disk delays it. */
export function heartbeat(core: Core, now: number): void {
  core.heartbeatDueMs = now + core.config.heartbeatMs;
  noteRound(core, now);
  for (const server of servers(core)) {
    const progress = core.peers.get(server.id);
    if (progress === undefined) continue;
    const commitIndex = Math.min(progress.match, core.commitIndex);
    send(core, server, { kind: 'heartbeat', commitIndex, round: core.readRound });
  }
}
