import type { SnapshotMeta } from '../types.ts';
import { noteSilence } from './patience.ts';
import type { Core } from './state.ts';

/**
 * How the leader feeds one peer. "probe": it looks for the place where the logs agree, one message at a time. "replicate":
 * entries are sent ahead without waiting, as far as the window allows. "snapshot": the peer needs entries that are gone.
 */
export type ProgressMode = 'probe' | 'replicate' | 'snapshot';

/** What the leader knows of a peer. */
export interface Progress {
  mode: ProgressMode;
  /** The peer's disk has the leader's log up to here; only grows within a term, comes from accepted answers alone. */
  match: number;
  /** First entry of the next message; match < next. */
  next: number;
  /** Probing: an answer is awaited. */
  paused: boolean;
  /** Last index and payload bytes of each message under way, oldest first. */
  inflight: { readonly index: number; readonly bytes: number }[];
  inflightBytes: number;
  /** When something was acknowledged, or the first message went under way. */
  lastProgressMs: number;
  /** An empty append is due, to learn whether messages were lost. */
  nudge: boolean;
  lastContactMs: number;
  /** When the newest round of heartbeats that it answered was sent. */
  heardMs: number;
  reachable: boolean;
  /** The newest verify-leader round that it answered. */
  answeredRound: number;
  snapshot: { readonly meta: SnapshotMeta; offset: number; sentMs: number } | undefined;
}

/** A peer of which nothing is known but that its log may be as long as the leader's. */
export function newProgress(next: number, now: number): Progress {
  return {
    mode: 'probe',
    match: 0,
    next,
    paused: false,
    inflight: [],
    inflightBytes: 0,
    lastProgressMs: now,
    nudge: false,
    lastContactMs: now,
    heardMs: -Infinity,
    reachable: true,
    answeredRound: 0,
    snapshot: undefined,
  };
}

/** Falls back to asking, from behind what is known to match. */
export function toProbe(progress: Progress, next: number): void {
  progress.mode = 'probe';
  progress.next = Math.max(next, progress.match + 1);
  progress.paused = false;
  progress.nudge = false;
  progress.snapshot = undefined;
  clearInflight(progress);
}

export function toReplicate(progress: Progress): void {
  progress.mode = 'replicate';
  progress.next = progress.match + 1;
  progress.paused = false;
  progress.snapshot = undefined;
  clearInflight(progress);
}

/** Room in the window: for one message of any size when nothing is under way. */
export function hasRoom(progress: Progress, maxMessages: number, maxBytes: number): boolean {
  return progress.inflight.length < maxMessages && progress.inflightBytes < maxBytes;
}

export function addInflight(progress: Progress, index: number, bytes: number, now: number): void {
  if (progress.inflight.length === 0) progress.lastProgressMs = now;
  progress.inflight.push({ index, bytes });
  progress.inflightBytes += bytes;
}

/** Messages up to `index` have arrived. */
export function dropInflight(progress: Progress, index: number): void {
  let count = 0;
  for (const message of progress.inflight) {
    if (message.index > index) break;
    progress.inflightBytes -= message.bytes;
    count++;
  }
  progress.inflight.splice(0, count);
}

function clearInflight(progress: Progress): void {
  progress.inflight = [];
  progress.inflightBytes = 0;
}

/** A peer answered: it is there. */
export function contact(core: Core, id: string, progress: Progress, now: number): void {
  const silentMs = now - progress.lastContactMs;
  progress.lastContactMs = now;
  if (progress.reachable) return noteSilence(core, silentMs, now);
  progress.reachable = true;
  core.effects.push({ kind: 'peer', id, reachable: true });
}
