import type { Clock } from '../../base/clock.ts';
import { TsswarmError } from '../../base/errors.ts';
import { storeEntryCodec } from '../../proto/codec/store.ts';
import type { StateMachine } from '../raft/loop.ts';
import type { Raft, RaftStatus } from '../raft/types.ts';
import { Database } from './database.ts';
import { MAX_TRANSACTION_BYTES, fromWire, toWire } from './entry.ts';
import { decodeSnapshot, encodeSnapshot } from './snapshot.ts';
import { Overlay } from './transaction.ts';
import type { ReadTransaction, ResumableStore, Store, StoreChange } from './types.ts';
import { WatchHub } from './watch.ts';

/** The store as a state machine of Raft: first the machine, which Raft drives from its start on, then the store on it. */
export interface ReplicatedStore {
  readonly machine: StateMachine;
  /** What is committed, also before it is attached. */
  readonly view: Store['view'];
  /** The store, once Raft runs. To be called once, in the turn in which Raft has started. */
  attach(raft: Raft): { readonly store: ResumableStore; close(): void };
}

/** A store that is empty until Raft brings what was committed. Touches neither disk nor network. */
export function replicatedStore(clock: Clock): ReplicatedStore {
  // `committed` is what readers see; `newest` runs ahead by what is on its way to disk, so that transactions queue up
  // behind one another without waiting for each other's sync. They share the objects.
  let committed = new Database();
  let newest = new Database();
  const hub = new WatchHub();
  const pending = new Map<number, readonly StoreChange[]>();

  const machine: StateMachine = {
    apply({ index, kind, payload }) {
      if (kind !== 'command') return;
      const own = pending.get(index);
      pending.delete(index);
      const changes = own ?? fromWire(storeEntryCodec.decode(payload).changes, index, committed);
      const before = committed.version;
      committed.apply(index, changes);
      if (own === undefined) newest.apply(index, changes);
      hub.publish({ version: index, changes }, before);
    },
    snapshot: () => encodeSnapshot(committed, clock),
    async restore({ data }) {
      // Readers see the old state until all of the new one is there.
      ({ committed, newest } = await decodeSnapshot(data, clock));
      pending.clear();
      hub.close(new TsswarmError('UNAVAILABLE', 'watching the store: a snapshot replaced it; read and watch again'));
    },
  };

  const attach: ReplicatedStore['attach'] = (raft) => {
    let leading = raft.status().ready;
    const stopObserving = raft.observe((event) => {
      if (event.kind === 'leader') leading = event.isSelf;
      if (event.kind !== 'role' || event.role === 'leader') return;
      leading = false;
      if (pending.size === 0) return;
      // What was proposed may never come to be: nobody may build on it.
      pending.clear();
      newest = committed.clone();
    });
    let last: Promise<unknown> = Promise.resolve();
    /** What a transaction has read may be on its way still. Who finds nothing to do, or is refused, because of it has to hear that it came to be. */
    const seenIsCommitted = async (): Promise<void> => {
      if (pending.size === 0) return;
      try {
        await last;
      } catch (error) {
        throw leading ? error : notLeader(raft.status());
      }
    };
    const store: ResumableStore = {
      view: (read) => read(committed),
      async update(write) {
        await Promise.resolve();
        if (!leading) throw notLeader(raft.status());
        const overlay = new Overlay(newest);
        let result: ReturnType<typeof write>;
        try {
          result = write(overlay);
        } catch (error) {
          await seenIsCommitted();
          throw error;
        }
        const index = raft.nextIndex;
        const time = clock.now();
        const changes = overlay.changes(index, time);
        if (changes.length === 0) {
          await seenIsCommitted();
          return result;
        }
        const payload = storeEntryCodec.encode({ time, changes: changes.map(toWire) });
        if (payload.length > MAX_TRANSACTION_BYTES) {
          throw new TsswarmError(
            'TOO_LARGE',
            `storing a transaction of ${payload.length} bytes: at most ${MAX_TRANSACTION_BYTES} are allowed`,
            {
              hint: 'split the project, or keep large files in volumes instead of secrets and configs',
            },
          );
        }
        const done = raft.propose(payload);
        // Refused: it has no index, and nothing may build on it.
        if (raft.nextIndex === index) return done.then(() => result);
        pending.set(index, changes);
        newest.apply(index, changes);
        last = done;
        await done;
        return result;
      },
      viewAndWatch<R>(read: (tx: ReadTransaction) => R) {
        return { result: read(committed), watch: hub.open() };
      },
      watchFrom: (version) => hub.resume(version, committed.version),
    };
    return {
      store,
      close() {
        stopObserving();
        hub.close();
      },
    };
  };
  return { machine, view: (read) => read(committed), attach };
}

function notLeader({ leaderId, servers }: RaftStatus): TsswarmError {
  const leader = servers.find(({ id }) => id === leaderId);
  const hint =
    leader === undefined ? 'no leader is known at the moment' : `the leader is "${leader.id}" at "${leader.address}"`;
  return new TsswarmError('NOT_LEADER', 'changing the store: this manager does not lead', { hint });
}
