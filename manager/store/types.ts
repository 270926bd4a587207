import type {
  Cluster,
  Config,
  Network,
  Node,
  Project,
  Revision,
  Secret,
  Service,
  Task,
  Volume,
} from '../../proto/types/index.ts';

/** Every table of the store and what lies in it. A new kind of object is added here and nowhere else first. */
export interface Tables {
  readonly cluster: Cluster;
  readonly node: Node;
  readonly project: Project;
  readonly service: Service;
  readonly task: Task;
  readonly network: Network;
  readonly volume: Volume;
  readonly secret: Secret;
  readonly config: Config;
  readonly revision: Revision;
}

export type TableName = keyof Tables;

/** The secondary indexes of each table: index name → the key an object has in it. Names are unique within a table. */
export interface Indexes {
  readonly cluster: never;
  readonly node: never;
  readonly project: 'name';
  readonly service: 'project' | 'name';
  /** `network`: those that have an address on it. */
  readonly task: 'service' | 'node' | 'project' | 'network';
  readonly network: 'project' | 'name';
  readonly volume: 'project' | 'name';
  readonly secret: 'project' | 'name';
  readonly config: 'project' | 'name';
  /** Id of the project, or of the service of no project. */
  readonly revision: 'owner';
}

/** A consistent view of the whole store. Objects are frozen: change by making new ones. */
export interface ReadTransaction {
  /** Version of the store that is seen: the Raft index of the last applied entry. */
  readonly version: number;
  get<T extends TableName>(table: T, id: Tables[T]['id']): Tables[T] | undefined;
  /** All objects of the table, in order of creation. */
  list<T extends TableName>(table: T): readonly Tables[T][];
  find<T extends TableName>(table: T, index: Indexes[T], key: string): readonly Tables[T][];
}

/**
 * Changes that hold all together or not at all. Reads see the transaction's own writes. `meta` is the store's business:
 * whatever the caller puts there is replaced at commit (version, timestamps), but on update `meta.version` is the
 * optimistic lock: it must be the stored one.
 */
export interface WriteTransaction extends ReadTransaction {
  /** @throws ALREADY_EXISTS for a taken id or name */
  create<T extends TableName>(table: T, object: Tables[T]): void;
  /** @throws NOT_FOUND; CONFLICT when the object changed since it was read */
  update<T extends TableName>(table: T, object: Tables[T]): void;
  /** @throws NOT_FOUND */
  remove<T extends TableName>(table: T, id: Tables[T]['id']): void;
}

/** One object's change inside a committed transaction. */
export type StoreChange = {
  readonly [T in TableName]: {
    readonly table: T;
    readonly id: Tables[T]['id'];
    /** Undefined when the object was removed. */
    readonly after: Tables[T] | undefined;
    /** Undefined when the object was created. */
    readonly before: Tables[T] | undefined;
  };
}[TableName];

/** One committed transaction as watchers see it. */
export interface StoreCommit {
  readonly version: number;
  readonly changes: readonly StoreChange[];
}

/** A subscription to all commits after the version it was opened at, in order, without gap. */
export interface StoreWatch extends AsyncIterable<StoreCommit> {
  close(): void;
}

export interface Store {
  /** Reads synchronously from a consistent view. */
  view<R>(read: (tx: ReadTransaction) => R): R;
  /**
   * Runs `write` synchronously on top of the newest state and commits its changes as one Raft entry. Resolves when the
   * entry is on disk at a majority and applied here. A `write` that changes nothing proposes nothing.
   * @throws what `write` throws (nothing is changed then); NOT_LEADER; OUTCOME_UNKNOWN; TOO_LARGE
   */
  update<R>(write: (tx: WriteTransaction) => R): Promise<R>;
  /**
   * Reads with `read` and watches everything after it, atomically.
   * A watcher that falls too far behind ends with an UNAVAILABLE error: read and watch again.
   */
  viewAndWatch<R>(read: (tx: ReadTransaction) => R): { readonly result: R; readonly watch: StoreWatch };
}

/** A store whose watchers can go on where they stopped, without reading everything again. */
export interface ResumableStore extends Store {
  /**
   * Watches every commit after `version`: first the kept ones, then those to come.
   * @throws UNAVAILABLE when commits after `version` are no longer kept, or are not here yet: read and watch again
   */
  watchFrom(version: number): StoreWatch;
}
