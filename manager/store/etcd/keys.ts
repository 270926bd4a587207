import { TsswarmError, messageOf } from '../../../base/errors.ts';
import { storeSnapshotCodec } from '../../../proto/codec/store.ts';
import { stamped } from '../entry.ts';
import { TABLE_NAMES } from '../tables.ts';
import type { TableName, Tables } from '../types.ts';

/**
 * Where things lie in etcd, below one prefix:
 * - `leader`: who leads, under a lease; its create_revision is the fencing token
 * - `head`: what the last commit was; every commit moves it
 * - `object/<table>/<id>`: the objects
 * - `stage/<transaction>/<number>`: pieces of a transaction that is too large for one of etcd's; nothing until `head` names it
 * - `manager/<id>`: a manager that is up and where it serves, under a lease of its own
 */
export class Layout {
  readonly prefix: string;
  readonly leader: string;
  readonly head: string;
  readonly stages: string;
  readonly #objects: string;
  readonly #managers: string;

  /** @param prefix for everything; one for each cluster that shares an etcd */
  constructor(prefix: string) {
    this.prefix = prefix;
    this.leader = `${prefix}leader`;
    this.head = `${prefix}head`;
    this.stages = `${prefix}stage/`;
    this.#objects = `${prefix}object/`;
    this.#managers = `${prefix}manager/`;
  }

  object(table: TableName, id: string): string {
    return `${this.#objects}${table}/${id}`;
  }

  manager(id: string): string {
    return `${this.#managers}${id}`;
  }

  /** The manager whose key it is; undefined: it is no manager's. */
  parseManager(key: string): string | undefined {
    return key.startsWith(this.#managers) ? key.slice(this.#managers.length) : undefined;
  }

  /** Numbers have the same length, so that etcd lists pieces in their order. */
  stage(transaction: string, number: number): string {
    return `${this.stages}${transaction}/${String(number).padStart(6, '0')}`;
  }

  /** The table and id that an object's key names; undefined: it is no object's. */
  parseObject(key: string): { readonly table: TableName; readonly id: string } | undefined {
    if (!key.startsWith(this.#objects)) return undefined;
    const [, name, id] = /^([^/]+)\/(.+)$/s.exec(key.slice(this.#objects.length)) ?? [];
    const table = TABLE_NAMES.find((known) => known === name);
    return table === undefined || id === undefined ? undefined : { table, id };
  }

  /** The transaction and number that a piece's key names; undefined: it is no piece's. */
  parseStage(key: string): { readonly transaction: string; readonly number: number } | undefined {
    if (!key.startsWith(this.stages)) return undefined;
    const [, transaction, number] = /^([^/]+)\/(\d+)$/.exec(key.slice(this.stages.length)) ?? [];
    return transaction === undefined ? undefined : { transaction, number: Number(number) };
  }
}

/** What the last write of `head` was. */
export interface Head {
  /**
   * commit: the objects of the same revision are its changes. staged: its changes are `pieces` pieces below `stage/`, and
   * object keys are not true until it is settled. settled: nothing is staged; the last commit was `version`.
   */
  readonly kind: 'commit' | 'staged' | 'settled';
  /** Id of the last committed transaction: whoever does not know whether its own came through finds it here. */
  readonly transaction: string;
  /** Version of the last commit; 0 where the revision of this very write is it. */
  readonly version: number;
  readonly pieces: number;
}

export function encodeHead(head: Head): Buffer {
  return Buffer.from(JSON.stringify(head));
}

/** @throws CORRUPT */
export function decodeHead(value: Uint8Array): Head {
  const { kind, transaction, version, pieces } = parse('the head', value) as Partial<Head>;
  const isKnown = kind === 'commit' || kind === 'staged' || kind === 'settled';
  if (!isKnown || typeof transaction !== 'string' || !Number.isSafeInteger(version) || !Number.isSafeInteger(pieces))
    throw new TsswarmError('CORRUPT', 'reading the head of the store in etcd: it is not one that this version writes');
  return { kind, transaction, version: version ?? 0, pieces: pieces ?? 0 };
}

/** Who leads, or is up, as its key says. */
export interface LeaderValue {
  readonly id: string;
  readonly address: string;
}

export function encodeLeader({ id, address }: LeaderValue): Buffer {
  return Buffer.from(JSON.stringify({ id, address }));
}

/** @throws CORRUPT */
export function decodeLeader(value: Uint8Array): LeaderValue {
  const { id, address } = parse('a manager', value) as Partial<LeaderValue>;
  if (typeof id !== 'string' || typeof address !== 'string')
    throw new TsswarmError('CORRUPT', 'reading a manager in etcd: it is not one that this version writes');
  return { id, address };
}

/** @param version 0: the revision of the key is the object's version */
export function encodeObject<T extends TableName>(table: T, object: Tables[T], version: number): Buffer {
  return Buffer.from(storeSnapshotCodec.encode({ version, objects: [{ [table]: object }] }));
}

/** @throws CORRUPT */
export function decodeObject<T extends TableName>(table: T, value: Uint8Array, modRevision: number): Tables[T] {
  const { version, objects } = storeSnapshotCodec.decode(value);
  const object = objects[0]?.[table];
  if (object === undefined)
    throw new TsswarmError('CORRUPT', `reading a ${table} from etcd: its key holds something else`);
  return stamped(object as Tables[T], version === 0 ? modRevision : version);
}

function parse(what: string, value: Uint8Array): object {
  try {
    return Object(JSON.parse(Buffer.from(value).toString())) as object;
  } catch (error) {
    throw new TsswarmError('CORRUPT', `reading ${what} in etcd: ${messageOf(error)}`, { cause: error });
  }
}
