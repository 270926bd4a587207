import type { InstallSnapshotAnswer, InstallSnapshotMessage, Server, SnapshotMeta } from '../types.ts';
import type { Progress } from './progress.ts';
import { patienceMs } from './patience.ts';
import { contact, toProbe } from './progress.ts';
import { hearLeader } from './role.ts';
import type { Core } from './state.ts';
import { send, senderOf, servers } from './state.ts';

/** The peer needs entries that are compacted away: it gets the newest snapshot, one chunk after another. */
export function startSnapshot(core: Core, to: Server, progress: Progress, now: number): void {
  const meta = core.snapshot;
  if (meta === undefined) throw new Error(`raft: entry ${progress.next - 1} is gone and there is no snapshot`);
  progress.mode = 'snapshot';
  progress.inflight = [];
  progress.inflightBytes = 0;
  progress.snapshot = { meta, offset: 0, sentMs: now };
  core.effects.push({ kind: 'send-chunk', to, snapshot: meta, offset: 0 });
}

/** Sends the chunk that is wanted again when no answer came for as long as a leader may be silent. */
export function resumeSnapshot(core: Core, id: string, progress: Progress, now: number): void {
  const { snapshot } = progress;
  const to = servers(core).find((server) => server.id === id);
  if (snapshot === undefined || to === undefined || now - snapshot.sentMs < patienceMs(core, now)) return;
  snapshot.sentMs = now;
  core.effects.push({ kind: 'send-chunk', to, snapshot: snapshot.meta, offset: snapshot.offset });
}

/** The bytes are gone on this side: begins again with the newest snapshot. */
export function onSnapshotUnavailable(core: Core, id: string): void {
  const progress = core.peers.get(id);
  if (progress?.mode === 'snapshot') toProbe(progress, progress.match + 1);
}

export function onInstallAnswer(core: Core, message: InstallSnapshotAnswer, now: number): void {
  const progress = core.peers.get(message.from);
  if (progress === undefined) return;
  contact(core, message.from, progress, now);
  const { snapshot } = progress;
  if (snapshot === undefined || snapshot.meta.index !== message.snapshotIndex) return;
  if (message.done) {
    progress.match = Math.max(progress.match, message.snapshotIndex);
    toProbe(progress, progress.match + 1);
    return;
  }
  // The same offset again is an answer to a chunk that was sent twice.
  const to = servers(core).find((server) => server.id === message.from);
  if (message.offset === snapshot.offset || to === undefined) return;
  snapshot.offset = message.offset;
  snapshot.sentMs = now;
  core.effects.push({ kind: 'send-chunk', to, snapshot: snapshot.meta, offset: snapshot.offset });
}

/** The follower's side. Chunks are kept in order; an interrupted transfer goes on where it stopped. */
export function onInstallSnapshot(core: Core, message: InstallSnapshotMessage, now: number): void {
  const to = senderOf(message);
  const { snapshot: meta, offset, data } = message;
  const answer = { kind: 'install-snapshot-answer', snapshotIndex: meta.index } as const;
  if (message.term < core.term) return send(core, to, { ...answer, offset: 0, done: false });
  hearLeader(core, message.from, message.term, now);
  if (core.incoming?.installing === true) return;
  if (meta.index <= core.commitIndex) {
    // The committed entries may still be on their way to this server's disk.
    return send(core, to, { ...answer, offset: 0, done: true }, { durable: true });
  }
  if (!sameTransfer(core.incoming, message)) core.incoming = { meta, from: message.from, offset: 0, installing: false };
  const incoming = core.incoming;
  if (incoming === undefined) return;
  if (offset !== incoming.offset) return send(core, to, { ...answer, offset: incoming.offset, done: false });
  core.effects.push({ kind: 'keep-chunk', offset, data });
  incoming.offset += data.length;
  if (!message.done) return send(core, to, { ...answer, offset: incoming.offset, done: false });
  incoming.installing = true;
  // A log that agrees with the snapshot's end keeps what follows it (paper, figure 13, step 6).
  const resetLog = core.log.termAt(meta.index) !== meta.term;
  core.effects.push({ kind: 'install-snapshot', snapshot: meta, resetLog });
}

/** It is on disk and in the state machine: the log goes on behind it. */
export function onSnapshotInstalled(core: Core): void {
  const meta = core.incoming?.meta;
  if (meta === undefined) throw new Error('raft: a snapshot was installed that nobody asked for');
  core.incoming = undefined;
  if (core.log.termAt(meta.index) === meta.term) core.log.compact(meta.index);
  else {
    core.log.reset(meta.index, meta.term);
    core.writes = [];
    core.persistedIndex = meta.index;
    core.configurations = [];
  }
  core.snapshot = meta;
  core.commitIndex = meta.index;
  core.configurations = [meta.configuration, ...core.configurations.filter(({ index }) => index > meta.index)];
  core.effects.push({ kind: 'membership', configuration: meta.configuration, committed: true });
  const leader = servers(core).find(({ id }) => id === core.leaderId);
  if (leader === undefined || core.role !== 'follower') return;
  const answer = { kind: 'install-snapshot-answer', snapshotIndex: meta.index, offset: 0, done: true } as const;
  send(core, leader, answer, { durable: true });
}

export function onSnapshotTaken(core: Core, snapshot: SnapshotMeta, compactTo: number): void {
  if (snapshot.index > (core.snapshot?.index ?? 0)) core.snapshot = snapshot;
  core.log.compact(compactTo);
}

/** Two servers may write the same state in different bytes: a transfer goes on only with the one that it began with. */
function sameTransfer(incoming: Core['incoming'], { from, snapshot }: InstallSnapshotMessage): boolean {
  return incoming?.from === from && incoming.meta.index === snapshot.index && incoming.meta.term === snapshot.term;
}
