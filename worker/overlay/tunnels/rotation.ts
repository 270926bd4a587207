/** How a node goes from one key of its encrypted way to the next. Nothing is lost: the old key works until nobody uses it. Pure. */
import type { NodeId } from '../../../base/ids.ts';
import type { SecureKey, SecureSlot } from '../../../node-engine/types.ts';

/** Unless a user says otherwise: a key is used this long, ms. Docker's IPsec keys are used for twelve hours. */
export const DEFAULT_KEY_INTERVAL_MS = 24 * 3_600_000;
/** The old key is given up when nothing has come by it for so long, ms; a twentieth of the interval where that is less. */
const QUIET_MS = 180_000;
/** What was sent with the old key has arrived after this, also from a node that is very busy, ms. */
const SETTLED_MS = 1000;
/** Nodes that were started together do not rotate together: a key lasts up to this part less. */
const SPREAD = 0.1;
const QUIET_PART = 0.05;

/** What a node sees of its keys and of the others. */
export interface RotationView {
  /** Of its links, the oldest first. */
  readonly keys: readonly SecureKey[];
  /** Wall time, ms. */
  readonly now: number;
  /** 0: only on command. */
  readonly intervalMs: number;
  readonly isCommanded: boolean;
  /** Public keys of this node that the others were told of, as far as it was told itself. */
  readonly known: readonly string[];
  /** Others on its encrypted networks that know of one link alone: older versions. */
  readonly old: readonly NodeId[];
  /** The managers do not say of this node since when it has its key: an older version. */
  readonly isManagerOld: boolean;
  /** The node has no address for the other link. */
  readonly hasOneLink: boolean;
  /** Others with whom the newest key is not known to work. */
  readonly unsettled: readonly NodeId[];
  /** For how long there have been none, ms. */
  readonly settledMs: number;
  /** The others are to use the newest key alone. */
  readonly isWithdrawn: boolean;
  /** For how long nothing has come by the old key, ms. */
  readonly quietMs: number;
}

/** What a rotation does next, or waits for. */
export type RotationStep =
  /** Nothing is to be done yet. */
  | { readonly kind: 'rest' }
  /** It is time, and it cannot be. */
  | {
      readonly kind: 'hold';
      readonly why: 'old-nodes' | 'old-managers' | 'one-link';
      readonly nodes: readonly NodeId[];
    }
  /** Make a key for the link that is not there. */
  | { readonly kind: 'begin'; readonly slot: SecureSlot }
  /** Others have not been told of the new key yet. */
  | { readonly kind: 'tell' }
  /** It is not known to work with these. */
  | { readonly kind: 'prove'; readonly nodes: readonly NodeId[] }
  /** It works with all: what is under way with the old key arrives before anybody forgets that. */
  | { readonly kind: 'settle' }
  /** Everybody can use the new key: the old one is told no longer. */
  | { readonly kind: 'withdraw' }
  /** Others have not been told yet that they are to forget the old one. */
  | { readonly kind: 'untell' }
  /** Somebody may use it still. */
  | { readonly kind: 'quiet' }
  /** Take the old link away. */
  | { readonly kind: 'end'; readonly slot: SecureSlot };

/** @param view at least one key */
export function nextStep(view: RotationView): RotationStep {
  const { keys, known } = view;
  const [oldest] = keys;
  const newest = keys.at(-1);
  if (oldest === undefined || newest === undefined) return { kind: 'rest' };
  if (keys.length === 1) return first(view, oldest);
  if (!view.isWithdrawn) {
    if (!known.includes(newest.publicKey)) return { kind: 'tell' };
    if (view.unsettled.length > 0) return { kind: 'prove', nodes: view.unsettled };
    return view.settledMs < SETTLED_MS ? { kind: 'settle' } : { kind: 'withdraw' };
  }
  if (known.includes(oldest.publicKey)) return { kind: 'untell' };
  return view.quietMs < quietMs(view.intervalMs) ? { kind: 'quiet' } : { kind: 'end', slot: oldest.slot };
}

function first(view: RotationView, key: SecureKey): RotationStep {
  // Who knows of one link alone knows the main one.
  const mustReturn = key.slot === 'alternate' && view.old.length > 0;
  const isDue = view.intervalMs > 0 && view.now >= dueAt(key, view.intervalMs);
  if (!isDue && !view.isCommanded && !mustReturn) return { kind: 'rest' };
  if (view.isManagerOld) return { kind: 'hold', why: 'old-managers', nodes: [] };
  if (view.hasOneLink) return { kind: 'hold', why: 'one-link', nodes: [] };
  if (view.old.length > 0 && !mustReturn) return { kind: 'hold', why: 'old-nodes', nodes: view.old };
  return { kind: 'begin', slot: key.slot === 'main' ? 'alternate' : 'main' };
}

/** When a key is to be replaced, ms. The same for a daemon that starts again: the spread follows from the key, which is random. */
export function dueAt({ publicKey, madeAt }: SecureKey, intervalMs: number): number {
  const part = Buffer.from(publicKey, 'base64').readUInt16BE(0) / 2 ** 16;
  return madeAt + intervalMs * (1 - SPREAD * part);
}

const quietMs = (intervalMs: number): number =>
  intervalMs === 0 ? QUIET_MS : Math.min(QUIET_MS, intervalMs * QUIET_PART);
