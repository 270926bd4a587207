import type { Clock } from '../../base/clock.ts';
import { Database } from './database.ts';
import { Overlay } from './transaction.ts';
import type { ReadTransaction, ResumableStore } from './types.ts';
import { WatchHub } from './watch.ts';

/** The store without a log under it: the twin for tests. Transactions commit at once. */
export function memoryStore(clock: Pick<Clock, 'now'>): ResumableStore {
  const database = new Database();
  const hub = new WatchHub();
  return {
    view: (read) => read(database),
    // Async, as the real one is: nobody may rely on a commit inside the same turn.
    async update(write) {
      await Promise.resolve();
      const overlay = new Overlay(database);
      const result = write(overlay);
      const version = database.version + 1;
      const changes = overlay.changes(version, clock.now());
      if (changes.length > 0) {
        database.apply(version, changes);
        hub.publish({ version, changes });
      }
      return result;
    },
    viewAndWatch<R>(read: (tx: ReadTransaction) => R) {
      return { result: read(database), watch: hub.open() };
    },
    watchFrom: (version) => hub.resume(version, database.version),
  };
}
