import type { RaftOptions } from '../../manager/raft/loop.ts';
import type { Entry, Raft } from '../../manager/raft/types.ts';
import type { Operation } from './linearizability.ts';

/** What a client read: the value, and what it has to show to change exactly that. */
export interface Found {
  readonly value: string;
  readonly proof?: unknown;
}

/** An operation that writes, and for "cas" what its client read before. */
export interface Write {
  readonly operation: Operation;
  readonly seen: Found | undefined;
}

/** What the simulation sees of a member's state machine. */
export interface Hooks {
  /** An entry is about to be applied. */
  applied(entry: Entry): void;
  /** A snapshot took the place of the state. */
  restored(index: number): void;
  /** What restoring takes: other things happen meanwhile. */
  delay(): Promise<void>;
  fail(message: string): void;
}

export type MemberOptions = Omit<RaftOptions, 'machine'>;

/** What a member keeps by its log: values by key. */
export interface Contents {
  /** Begins with an empty state, as startRaft. */
  start(options: MemberOptions): Promise<Raft>;
  /** Good for one turn after `readIndex`. */
  get(key: string): Found;
  /** Writes all or nothing; notes in the operations what they found. */
  write(writes: readonly Write[]): Promise<void>;
  /** The same wherever the same entries were applied. */
  describe(): string;
}
