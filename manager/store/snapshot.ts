import { deferred } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError } from '../../base/errors.ts';
import { storeSnapshotCodec } from '../../proto/codec/store.ts';
import type { StoredObject } from '../../proto/codec/store.ts';
import { Database } from './database.ts';
import { TABLE_NAMES } from './tables.ts';
import type { StoreChange } from './types.ts';

/** No protobuf message begins with a zero byte: it tells frames from the one message that a snapshot was at first. */
const FRAMED = 0;
const VERSION = 1;
/** Objects encoded before others get their turn: some milliseconds' worth. */
const OBJECTS_PER_FRAME = 200;

/**
 * The state as of the call, encoded piece by piece so that heartbeats go on meanwhile: [0][version], then frames of
 * [length u32][StoreSnapshot]. Objects are frozen and replaced, so holding on to them is a copy.
 */
export function encodeSnapshot(database: Database, clock: Clock): AsyncIterable<Uint8Array> {
  const { version } = database;
  const objects = TABLE_NAMES.flatMap((table) =>
    database.list(table).map((object) => ({ [table]: object }) as StoredObject),
  );
  return frames(version, objects, clock);
}

async function* frames(
  version: number,
  objects: readonly StoredObject[],
  clock: Clock,
): AsyncGenerator<Uint8Array, void, void> {
  yield Uint8Array.of(FRAMED, VERSION);
  for (let i = 0; i === 0 || i < objects.length; i += OBJECTS_PER_FRAME) {
    const message = storeSnapshotCodec.encode({ version, objects: objects.slice(i, i + OBJECTS_PER_FRAME) });
    const frame = Buffer.alloc(4 + message.length);
    frame.writeUInt32BE(message.length);
    frame.set(message, 4);
    yield frame;
    const turn = deferred<void>();
    clock.startTimer(0, turn.resolve);
    await turn.promise;
  }
}

/** @throws CORRUPT */
export function decodeSnapshot(data: Uint8Array): Database {
  const database = new Database();
  for (const message of messages(data)) {
    const { version, objects } = storeSnapshotCodec.decode(message);
    database.apply(version, objects.map(creation));
  }
  return database;
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
