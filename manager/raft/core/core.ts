/**
 * Raft's decisions as a pure step function (Ongaro's thesis, chapter 3). This version has one voter, itself: it elects
 * itself, and an entry is committed as soon as its own disk has it. Peers, their votes and messages join the unions below.
 */
export type Role = 'follower' | 'candidate' | 'leader';

export interface RaftState {
  readonly id: string;
  /** Latest term seen; only grows, and is on disk before anything is done in it. */
  readonly term: number;
  /** Who got this server's vote in `term`; empty: nobody. */
  readonly votedFor: string;
  readonly role: Role;
  /** Index of the last entry in the log, on disk or on its way there. */
  readonly lastIndex: number;
  /** Index up to which the own disk has the log. Invariant: commitIndex <= persistedIndex <= lastIndex. */
  readonly persistedIndex: number;
  readonly commitIndex: number;
  /** Index of the first entry of the present leadership: only from there on entries may be committed by count (5.4.2). */
  readonly termStart: number;
}

/** "noop" opens a term: it lets a leader commit what earlier terms left behind. */
export type EntryKind = 'noop' | 'command';

export interface Entry {
  readonly index: number;
  readonly term: number;
  readonly kind: EntryKind;
  readonly payload: Uint8Array;
}

export type RaftEvent =
  | { readonly kind: 'election-timeout' }
  /** The disk has term and vote. */
  | { readonly kind: 'vote-persisted'; readonly term: number }
  /** Refused unless this server leads. */
  | { readonly kind: 'propose'; readonly payloads: readonly Uint8Array[] }
  /** The disk has the log up to `index`. */
  | { readonly kind: 'persisted'; readonly index: number };

export type RaftEffect =
  | { readonly kind: 'persist-vote'; readonly term: number; readonly votedFor: string }
  | { readonly kind: 'append'; readonly entries: readonly Entry[] }
  | { readonly kind: 'lead'; readonly term: number }
  /** Entries up to `index` are committed: apply them. */
  | { readonly kind: 'commit'; readonly index: number }
  | { readonly kind: 'refuse'; readonly count: number };

export interface Step {
  readonly state: RaftState;
  readonly effects: readonly RaftEffect[];
}

/** State at the start of a process, from what the disk has. */
export function initialState(
  id: string,
  disk: { readonly term: number; readonly votedFor: string; readonly lastIndex: number; readonly appliedIndex: number },
): RaftState {
  return {
    id,
    term: disk.term,
    votedFor: disk.votedFor,
    role: 'follower',
    lastIndex: disk.lastIndex,
    persistedIndex: disk.lastIndex,
    commitIndex: disk.appliedIndex,
    termStart: Infinity,
  };
}

/** What an event makes of a state, and what has to be done for it. */
export function step(state: RaftState, event: RaftEvent): Step {
  switch (event.kind) {
    case 'election-timeout': {
      if (state.role === 'leader') return { state, effects: [] };
      const next = { ...state, role: 'candidate' as const, term: state.term + 1, votedFor: state.id };
      return { state: next, effects: [{ kind: 'persist-vote', term: next.term, votedFor: next.votedFor }] };
    }
    case 'vote-persisted': {
      // The own vote counts only once it is on disk; with one voter it is the majority.
      if (state.role !== 'candidate' || event.term !== state.term) return { state, effects: [] };
      const leader: RaftState = { ...state, role: 'leader', termStart: state.lastIndex + 1 };
      const opened = append(leader, [{ kind: 'noop', payload: new Uint8Array() }]);
      return { state: opened.state, effects: [{ kind: 'lead', term: state.term }, ...opened.effects] };
    }
    case 'propose':
      if (state.role !== 'leader') return { state, effects: [{ kind: 'refuse', count: event.payloads.length }] };
      return append(
        state,
        event.payloads.map((payload) => ({ kind: 'command' as const, payload })),
      );
    case 'persisted': {
      const persistedIndex = Math.max(state.persistedIndex, Math.min(event.index, state.lastIndex));
      const next = { ...state, persistedIndex };
      if (state.role !== 'leader' || persistedIndex < state.termStart || persistedIndex <= state.commitIndex) {
        return { state: next, effects: [] };
      }
      return { state: { ...next, commitIndex: persistedIndex }, effects: [{ kind: 'commit', index: persistedIndex }] };
    }
  }
}

function append(state: RaftState, drafts: readonly { readonly kind: EntryKind; readonly payload: Uint8Array }[]): Step {
  const entries = drafts.map(({ kind, payload }, i) => ({
    index: state.lastIndex + 1 + i,
    term: state.term,
    kind,
    payload,
  }));
  return { state: { ...state, lastIndex: state.lastIndex + entries.length }, effects: [{ kind: 'append', entries }] };
}
