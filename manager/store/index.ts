export type * from './types.ts';
export { memoryStore } from './memory.ts';
export { dekFile, openStore } from './disk.ts';
export type { OpenStore, StoreOptions } from './disk.ts';
export type { EtcdStoreOptions, OpenEtcdStore } from './etcd/store.ts';
export type { LeadershipSource } from './leadership.ts';
