import { encodeConfiguration, syncPeers } from './configuration.ts';
import { heartbeat } from './heartbeat.ts';
import { appendOwn } from './replication.ts';
import { noteSilence, patienceMs } from './patience.ts';
import { becomeFollower } from './role.ts';
import type { Core } from './state.ts';
import { announce, quorum, servers } from './state.ts';

/** Takes over: opens the term with an entry of its own, which lets it commit what earlier leaders left. */
export function becomeLeader(core: Core, now: number): void {
  core.role = 'leader';
  core.leaderId = core.config.id;
  core.termStart = core.log.lastIndex + 1;
  core.peers.clear();
  core.readRound = 0;
  core.roundsSent = [];
  core.hasHandedOver = false;
  core.judgesNext = false;
  core.heartbeatDueMs = now;
  syncPeers(core, now);
  announce(core);
  appendOwn(core, 'noop', new Uint8Array(), now);
  // A cluster of one from before configurations were logged: now that others may join, they have to learn of it.
  if (core.configurations.at(-1)?.index === 0)
    appendOwn(core, 'configuration', encodeConfiguration(servers(core)), now);
}

/** The leader's part of the passing of time: quorum, heartbeats, peers that fell silent. */
export function leaderTick(core: Core, now: number): void {
  if (now < core.heartbeatDueMs) return;
  const heldUpMs = now - core.heartbeatDueMs;
  noteSilence(core, heldUpMs, now);
  // This process was held up, and timers come before messages: what the others said meanwhile is read before they are judged.
  core.judgesNext = heldUpMs > core.config.heartbeatMs && !core.judgesNext;
  if (core.judgesNext) return heartbeat(core, now);
  const patience = patienceMs(core, now);
  for (const [id, progress] of core.peers) {
    const reachable = now - progress.lastContactMs < patience;
    if (reachable !== progress.reachable) core.effects.push({ kind: 'peer', id, reachable });
    progress.reachable = reachable;
  }
  // Without a quorum it may be deposed already and not know: it stops to act as one (thesis, 6.2). Nothing depends on how soon: the
  // others wait for nobody, and what has to be sure asks for the lease. One that begins to vote while it is starting is busy for longer
  // than an election timeout, and to elect the same leader anew would help neither.
  const longest = core.config.maxPatience * core.config.electionTimeoutMs;
  const answers = (id: string): boolean => now - (core.peers.get(id)?.lastContactMs ?? -Infinity) < longest;
  if (!quorum(core, (id) => id === core.config.id || answers(id))) {
    return becomeFollower(core, core.term, '', now);
  }
  heartbeat(core, now);
}
