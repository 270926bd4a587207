import { heldAddresses } from '../model/task-addresses.ts';
import type { Indexes, TableName, Tables } from './types.ts';

/** Key or keys of an object in an index. */
export type KeysOf<T extends TableName> = (object: Tables[T]) => string | readonly string[];

/** The key of an object in each index of its table, and the name that must be unique among its kind. */
interface TableDefinition<T extends TableName> {
  readonly indexes: { readonly [I in Indexes[T] & string]: KeysOf<T> };
  readonly uniqueName?: (object: Tables[T]) => string;
}

/** Every table's indexes, once. */
export const TABLES: { readonly [T in TableName]: TableDefinition<T> } = {
  cluster: { indexes: {} },
  node: { indexes: {} },
  project: { indexes: { name: ({ name }) => name }, uniqueName: ({ name }) => name },
  service: {
    indexes: { project: ({ projectId }) => projectId, name: ({ spec }) => spec.name },
    uniqueName: ({ spec }) => spec.name,
  },
  task: {
    indexes: {
      service: ({ serviceId }) => serviceId,
      node: ({ nodeId }) => nodeId,
      project: ({ projectId }) => projectId,
      network: (task) => [...new Set(heldAddresses(task).map(({ networkId }) => networkId))],
    },
  },
  network: owned(),
  volume: owned(),
  secret: owned(),
  config: owned(),
  revision: { indexes: { owner: ({ projectId, serviceId }) => projectId || serviceId } },
};

export const TABLE_NAMES = Object.keys(TABLES) as readonly TableName[];

function owned() {
  return {
    indexes: {
      project: ({ projectId }: { readonly projectId: string }) => projectId,
      name: ({ spec }: { readonly spec: { readonly name: string } }) => spec.name,
    },
    uniqueName: ({ spec }: { readonly spec: { readonly name: string } }) => spec.name,
  };
}
