import { deferred } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError } from '../../base/errors.ts';
import { storeSnapshotCodec } from '../../proto/codec/store.ts';
import type { StoredObject } from '../../proto/codec/store.ts';
import { Database } from './database.ts';
import { TABLE_NAMES } from './tables.ts';
import type { StoreChange, TableName, Tables } from './types.ts';

/** No protobuf message begins with a zero byte: it tells frames from the one message that a snapshot was at first. */
const FRAMED = 0;
const VERSION = 1;
/** Objects encoded before others get their turn: some milliseconds' worth. */
const OBJECTS_PER_FRAME = 100;
/** Longest stretch of restoring before others get their turn, ms. */
const SLICE_MS = 5;

/**
 * The state as of the call, encoded piece by piece so that heartbeats go on meanwhile: [0][version], then frames of
 * [length u32][StoreSnapshot]. Objects are frozen and replaced, so holding on to them is a copy.
 */
export function encodeSnapshot(database: Database, clock: Clock): AsyncIterable<Uint8Array> {
  const { version } = database;
  // Copies of references: the only part that cannot wait.
  const tables = TABLE_NAMES.map((table) => ({ table, objects: database.list(table) }));
  return frames(version, tables, clock);
}

async function* frames(
  version: number,
  tables: readonly { readonly table: TableName; readonly objects: readonly Tables[TableName][] }[],
  clock: Clock,
): AsyncGenerator<Uint8Array, void, void> {
  yield Uint8Array.of(FRAMED, VERSION);
  // The version counts without objects too.
  yield frame(version, []);
  for (const { table, objects } of tables) {
    for (let i = 0; i < objects.length; i += OBJECTS_PER_FRAME) {
      const part = objects.slice(i, i + OBJECTS_PER_FRAME);
      yield frame(
        version,
        part.map((object) => ({ [table]: object }) as StoredObject),
      );
      await othersTurn(clock);
    }
  }
}

function frame(version: number, objects: readonly StoredObject[]): Uint8Array {
  const message = storeSnapshotCodec.encode({ version, objects });
  const bytes = Buffer.allocUnsafe(4 + message.length);
  bytes.writeUInt32BE(message.length);
  bytes.set(message, 4);
  return bytes;
}

/**
 * The state of a snapshot, a slice at a time so that heartbeats are answered meanwhile; twice, because the store needs two
 * that change on their own.
 * @throws CORRUPT
 */
export async function decodeSnapshot(
  data: Uint8Array,
  clock: Clock,
): Promise<{ readonly committed: Database; readonly newest: Database }> {
  const [committed, newest] = [new Database(), new Database()];
  const read: { readonly version: number; readonly changes: readonly StoreChange[] }[] = [];
  let started = clock.monotonic();
  const pause = async (): Promise<void> => {
    if (clock.monotonic() - started < SLICE_MS) return;
    await othersTurn(clock);
    started = clock.monotonic();
  };
  for (const message of messages(data)) {
    const { version, objects } = storeSnapshotCodec.decode(message);
    const changes = objects.map(creation);
    committed.apply(version, changes);
    read.push({ version, changes });
    await pause();
  }
  // One after the other: large maps take a moment whenever they grow, and would all grow at once.
  for (const { version, changes } of read) {
    newest.apply(version, changes);
    await pause();
  }
  return { committed, newest };
}

/** Lets everything else that waits run. */
function othersTurn(clock: Clock): Promise<void> {
  const turn = deferred<void>();
  clock.startTimer(0, turn.resolve);
  return turn.promise;
}

function* messages(data: Uint8Array): Generator<Uint8Array> {
  if (data[0] !== FRAMED) return yield data;
  if (data[1] !== VERSION) throw corrupt(`its version ${data[1]} is not ${VERSION}`);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 2; at < data.length;) {
    if (at + 4 > data.length) throw corrupt('it ends too early');
    const end = at + 4 + view.getUint32(at);
    if (end > data.length) throw corrupt('it ends too early');
    yield data.subarray(at + 4, end);
    at = end;
  }
}

function creation(stored: StoredObject): StoreChange {
  const table = TABLE_NAMES.find((name) => stored[name] !== undefined);
  const object = table === undefined ? undefined : stored[table];
  if (table === undefined || object === undefined) throw corrupt('an object without a table');
  return { table, id: object.id, before: undefined, after: Object.freeze(object) } as StoreChange;
}

function corrupt(what: string): TsswarmError {
  return new TsswarmError('CORRUPT', `reading a snapshot of the store: ${what}`);
}
