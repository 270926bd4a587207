import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Entry, RaftEffect, RaftEvent, RaftState } from './core/core.ts';
import { initialState, step } from './core/core.ts';
import type { LogStore } from './log/disk.ts';
import type { Snapshot, SnapshotStore } from './snapshot/disk.ts';

/** What the log drives. Applying must be deterministic: time and randomness travel in the entry. */
export interface StateMachine {
  apply(entry: Entry): void;
  snapshot(): Uint8Array;
  restore(snapshot: Snapshot): void;
}

export interface RaftOptions {
  readonly id: string;
  readonly log: LogStore;
  readonly snapshots: SnapshotStore;
  readonly machine: StateMachine;
  readonly logger: Logger;
  /** Entries after which a snapshot is taken, and entries kept behind it. */
  readonly snapshotEvery: number;
  readonly trailing: number;
  /** The disk failed: nothing can be promised any more, the process has to end. */
  readonly onFatal: (error: Error) => void;
}

export interface RaftStatus {
  readonly role: RaftState['role'];
  readonly term: number;
  readonly commitIndex: number;
  readonly lastIndex: number;
}

/** A running server. */
export interface Raft {
  /** Index that the next proposal will get; only the leader may rely on it, and only within one turn. */
  readonly nextIndex: number;
  /**
   * Puts an entry into the log. Resolves when it is committed and applied.
   * @throws NOT_LEADER, OUTCOME_UNKNOWN when the disk failed meanwhile
   */
  propose(payload: Uint8Array): Promise<void>;
  status(): RaftStatus;
  close(): Promise<void>;
}

/**
 * Restores the state machine from snapshot and log, then leads. Proposals that arrive while the disk works are written
 * together: one sync for all of them.
 */
export async function startRaft(options: RaftOptions): Promise<Raft> {
  const { log, snapshots, machine, logger } = options;
  const snapshot = snapshots.latest();
  let applied = 0;
  let snapshotIndex = 0;
  if (snapshot !== undefined) {
    machine.restore(snapshot);
    applied = snapshotIndex = snapshot.index;
  }
  if (log.firstIndex > applied + 1) {
    throw new TsswarmError(
      'CORRUPT',
      `opening the log: it begins at entry ${log.firstIndex}, and the newest good snapshot ends at ${applied}`,
      {
        hint: 'restore the state directory from a backup',
      },
    );
  }
  let state = initialState(options.id, {
    ...log.hardState,
    lastIndex: Math.max(log.lastIndex, applied),
    appliedIndex: applied,
  });
  const queue: {
    readonly payload: Uint8Array;
    readonly resolve: () => void;
    readonly reject: (error: Error) => void;
  }[] = [];
  const waiting = new Map<number, { readonly resolve: () => void; readonly reject: (error: Error) => void }>();
  let writing: Promise<void> | undefined;
  let dead: Error | undefined;
  let closed = false;

  const dispatch = async (event: RaftEvent): Promise<void> => {
    const result = step(state, event);
    state = result.state;
    for (const effect of result.effects) await perform(effect);
  };
  const perform = async (effect: RaftEffect): Promise<void> => {
    switch (effect.kind) {
      case 'persist-vote':
        await log.saveHardState(effect);
        return dispatch({ kind: 'vote-persisted', term: effect.term });
      case 'lead':
        return logger.info('leading', { term: effect.term });
      case 'append': {
        await log.append(effect.entries);
        return dispatch({ kind: 'persisted', index: effect.entries.at(-1)?.index ?? 0 });
      }
      case 'commit':
        return applyTo(effect.index);
      case 'refuse':
        return;
    }
  };
  const applyTo = (index: number): void => {
    for (const entry of log.read(applied + 1, index)) {
      machine.apply(entry);
      applied = entry.index;
      waiting.get(applied)?.resolve();
      waiting.delete(applied);
    }
    if (applied !== index) throw new TsswarmError('CORRUPT', `applying the log: entry ${applied + 1} is missing`);
  };
  const compact = async (): Promise<void> => {
    if (applied - snapshotIndex < options.snapshotEvery) return;
    snapshots.save({ index: applied, term: state.term, data: machine.snapshot() });
    snapshotIndex = applied;
    const keepFrom = applied - options.trailing;
    if (keepFrom >= log.firstIndex) await log.truncatePrefix(keepFrom);
    logger.info('snapshot', { index: applied });
  };
  const fail = (cause: unknown): void => {
    dead = new TsswarmError('OUTCOME_UNKNOWN', `writing the log: ${messageOf(cause)}`, { cause });
    for (const { reject } of [...waiting.values(), ...queue.splice(0)]) reject(dead);
    waiting.clear();
    options.onFatal(dead);
  };
  const drain = (): Promise<void> =>
    (writing ??= (async () => {
      try {
        while (queue.length > 0) {
          const batch = queue.splice(0);
          for (const [i, proposal] of batch.entries()) waiting.set(state.lastIndex + 1 + i, proposal);
          await dispatch({ kind: 'propose', payloads: batch.map(({ payload }) => payload) });
          await compact();
        }
      } catch (error) {
        fail(error);
      } finally {
        writing = undefined;
      }
    })());

  await dispatch({ kind: 'election-timeout' });
  return {
    get nextIndex() {
      return state.lastIndex + queue.length + 1;
    },
    propose(payload) {
      if (dead !== undefined) return Promise.reject(dead);
      if (closed) return Promise.reject(new TsswarmError('UNAVAILABLE', 'writing the log: this manager is stopping'));
      if (state.role !== 'leader')
        return Promise.reject(new TsswarmError('NOT_LEADER', 'writing the log: this manager does not lead'));
      const done = new Promise<void>((resolve, reject) => queue.push({ payload, resolve, reject }));
      void drain();
      return done;
    },
    status: () => ({ role: state.role, term: state.term, commitIndex: state.commitIndex, lastIndex: state.lastIndex }),
    async close() {
      closed = true;
      await writing;
      await log.close();
    },
  };
}
