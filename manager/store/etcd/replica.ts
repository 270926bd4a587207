import { TsswarmError } from '../../../base/errors.ts';
import { storeEntryCodec } from '../../../proto/codec/store.ts';
import { Database } from '../database.ts';
import { fromWire } from '../entry.ts';
import { TABLE_NAMES } from '../tables.ts';
import type { StoreChange, TableName, Tables } from '../types.ts';
import { WatchHub } from '../watch.ts';
import type { KeyEvent, KeyValue, Listing } from './client.ts';
import { decodeHead, decodeLeader, decodeObject } from './keys.ts';
import type { Head, LeaderValue, Layout } from './keys.ts';

/** Who leads, and since which revision: the fencing token. */
export interface KnownLeader extends LeaderValue {
  readonly token: number;
}

/** The store as etcd's keys say, in memory: fed with a listing, then with every event after it. Touches nothing else. */
export class Replica {
  readonly database = new Database();
  readonly hub = new WatchHub();
  readonly #layout: Layout;
  readonly #listeners = new Set<() => void>();
  readonly #pieces = new Map<string, Map<number, Uint8Array>>();
  #revision = -1;
  #head: { readonly value: Head; readonly revision: number } | undefined;
  #leader: KnownLeader | undefined;
  readonly #managers = new Map<string, LeaderValue>();
  #membership = 0;
  #staged: readonly StoreChange[] = [];

  constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** Everything up to this revision of etcd is in it; -1 before the first listing. */
  get revision(): number {
    return this.#revision;
  }

  get head(): Head | undefined {
    return this.#head?.value;
  }

  /** Revision of the last write of the head; 0: there is none. */
  get headRevision(): number {
    return this.#head?.revision ?? 0;
  }

  get leader(): KnownLeader | undefined {
    return this.#leader;
  }

  /** The managers that are up. */
  get managers(): ReadonlyMap<string, LeaderValue> {
    return this.#managers;
  }

  /** Grows whenever a manager may have come, gone or moved: with their keys, and with the nodes. */
  get membership(): number {
    return this.#membership;
  }

  /** Changes of the last commit that are still to be written to the objects' own keys. */
  get staged(): readonly StoreChange[] {
    return this.#staged;
  }

  /** Calls `listener` after every step, until the returned function is called. */
  onStep(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes everything as of one revision; what differs from before is one commit to watchers. @throws CORRUPT */
  load({ revision, keys }: Listing): void {
    this.#managers.clear();
    this.#membership++;
    this.#pieces.clear();
    this.#head = undefined;
    this.#leader = undefined;
    this.#staged = [];
    const target = new Database();
    let version = 0;
    // Order of creation is order of keys' creation; those of one transaction come in the order of their ids.
    for (const key of [...keys].sort((a, b) => a.createRevision - b.createRevision)) {
      const place = this.#layout.parseObject(key.key);
      if (place === undefined) {
        this.#keep(key);
        continue;
      }
      const after = decodeObject(place.table, key.value, key.modRevision);
      version = Math.max(version, after.meta.version);
      target.apply(version, [{ ...place, before: undefined, after } as StoreChange]);
    }
    if (this.#head !== undefined) version = Math.max(version, versionOf(this.#head));
    if (this.head?.kind === 'staged') {
      this.#staged = this.#unstage(version, target);
      target.apply(version, this.#staged);
    }
    const changes = difference(this.database, target);
    if (changes.length > 0 && version <= this.database.version) version = revision;
    if (this.#revision < 0 || changes.length > 0) this.database.apply(version, changes);
    // Also the first one: a store that was opened while etcd was away has its watchers already.
    if (changes.length > 0) this.hub.jump({ version, changes });
    this.#step(revision);
  }

  /**
   * Takes events in the order of their revisions; those that it has already are left out.
   * @throws CORRUPT
   */
  apply(events: readonly KeyEvent[]): void {
    for (let from = 0; from < events.length;) {
      const revision = events[from]?.modRevision ?? 0;
      let to = from;
      while (events[to]?.modRevision === revision) to++;
      if (revision > this.#revision) this.#applyRevision(revision, events.slice(from, to));
      from = to;
    }
  }

  /** Nothing happened up to `revision`. */
  progress(revision: number): void {
    if (revision > this.#revision) this.#step(revision);
  }

  #applyRevision(revision: number, events: readonly KeyEvent[]): void {
    const before = this.#head;
    for (const event of events) this.#keep(event);
    const head = this.#head;
    let changes: readonly StoreChange[] = [];
    if (head !== before && head?.value.kind === 'staged') {
      changes = this.#staged = this.#unstage(revision, this.database);
    } else if (head?.value.kind !== 'staged') {
      this.#staged = [];
      // Also where the head was not moved: somebody else wrote an object, which is as true as the next listing says it is.
      changes = events.flatMap((event) => this.#objectChange(event));
    }
    // Under a staged head, events of objects only bring their keys up to what is applied already.
    if (head !== before && before?.value.kind === 'staged' && head?.value.kind === 'settled') changes = [];
    if (changes.length > 0) {
      if (changes.some(({ table }) => table === 'node')) this.#membership++;
      this.database.apply(revision, changes);
      this.hub.publish({ version: revision, changes });
    }
    this.#step(revision);
  }

  #objectChange({ key, value, modRevision }: KeyEvent): readonly StoreChange[] {
    const place = this.#layout.parseObject(key);
    if (place === undefined) return [];
    const before = this.database.get(place.table, place.id as never);
    const after = value === undefined ? undefined : decodeObject(place.table, value, modRevision);
    return before === undefined && after === undefined ? [] : [{ ...place, before, after } as StoreChange];
  }

  /** Notes everything that is no object. */
  #keep({ key, value, modRevision, createRevision }: KeyEvent | KeyValue): void {
    if (key === this.#layout.head) {
      this.#head = value === undefined ? undefined : { value: decodeHead(value), revision: modRevision };
    } else if (key === this.#layout.leader) {
      this.#leader = value === undefined ? undefined : { ...decodeLeader(value), token: createRevision };
    } else {
      const manager = this.#layout.parseManager(key);
      if (manager !== undefined) return this.#keepManager(manager, value);
      const place = this.#layout.parseStage(key);
      if (place === undefined) return;
      const pieces = this.#pieces.get(place.transaction) ?? new Map<number, Uint8Array>();
      if (value === undefined) pieces.delete(place.number);
      else pieces.set(place.number, value);
      if (pieces.size === 0) this.#pieces.delete(place.transaction);
      else this.#pieces.set(place.transaction, pieces);
    }
  }

  #keepManager(id: string, value: Uint8Array | undefined): void {
    this.#membership++;
    if (value === undefined) this.#managers.delete(id);
    else this.#managers.set(id, decodeLeader(value));
  }

  #unstage(version: number, base: Database): readonly StoreChange[] {
    const { transaction = '', pieces = 0 } = this.head ?? {};
    const there = this.#pieces.get(transaction);
    const parts = Array.from({ length: pieces }, (_, number) => {
      const part = there?.get(number);
      if (part !== undefined) return part;
      throw new TsswarmError('CORRUPT', `reading transaction "${transaction}" from etcd: piece ${number} is missing`);
    });
    return fromWire(storeEntryCodec.decode(Buffer.concat(parts)).changes, version, base);
  }

  #step(revision: number): void {
    this.#revision = Math.max(revision, this.#revision);
    for (const listener of [...this.#listeners]) listener();
  }
}

function versionOf({ value, revision }: { readonly value: Head; readonly revision: number }): number {
  return value.kind === 'settled' ? value.version : revision;
}

/** What makes `before` into `after`: removals first, so that a name is free for whoever took it over. */
function difference(before: Database, after: Database): readonly StoreChange[] {
  const changes: StoreChange[] = [];
  for (const table of TABLE_NAMES)
    for (const object of before.list(table))
      if (after.get(table, object.id as never) === undefined) changes.push(change(table, object, undefined));
  for (const table of TABLE_NAMES)
    for (const object of after.list(table)) {
      const known = before.get(table, object.id as never);
      if (known?.meta.version !== object.meta.version) changes.push(change(table, known, object));
    }
  return changes;
}

function change<T extends TableName>(
  table: T,
  before: Tables[T] | undefined,
  after: Tables[T] | undefined,
): StoreChange {
  return { table, id: (after ?? before)?.id, before, after } as StoreChange;
}
