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
} from '../types/index.ts';
import { codec } from './message.ts';

/** The stored object with its table's name as the only key, as a protobuf oneof is. */
export interface StoredObject {
  readonly cluster?: Cluster;
  readonly node?: Node;
  readonly project?: Project;
  readonly service?: Service;
  readonly task?: Task;
  readonly network?: Network;
  readonly volume?: Volume;
  readonly secret?: Secret;
  readonly config?: Config;
  readonly revision?: Revision;
}

/** One change of a committed transaction, as the Raft log keeps it: whole objects, so that applying needs no logic. */
export interface StoreEntryChange {
  readonly action: 'create' | 'update' | 'remove';
  readonly table: keyof StoredObject;
  readonly id: string;
  /** Absent for remove. */
  readonly object?: StoredObject;
}

export interface StoreEntry {
  /** Wall time of the proposal, ms: part of the entry, so that every replica stores the same. */
  readonly time: number;
  readonly changes: readonly StoreEntryChange[];
}

export interface StoreSnapshot {
  /** Raft index of the last entry it holds. */
  readonly version: number;
  readonly objects: readonly StoredObject[];
}

export const storeEntryCodec = codec<StoreEntry>('StoreEntry');
export const storeSnapshotCodec = codec<StoreSnapshot>('StoreSnapshot');
