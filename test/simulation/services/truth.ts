import type { Entry } from '../../../manager/raft/types.ts';
import { storeEntryCodec } from '../../../proto/codec/store.ts';
import type { Network, Node, Project, Service, Task, Volume } from '../../../proto/types/index.ts';

interface Committed {
  readonly task: Task;
  readonly service: Service;
  readonly node: Node;
  readonly volume: Volume;
  readonly network: Network;
  readonly project: Project;
}

/** One object's change in a commit. */
export type Change = {
  readonly [T in keyof Committed]: {
    readonly table: T;
    readonly before: Committed[T] | undefined;
    readonly after: Committed[T] | undefined;
  };
}[keyof Committed];

type Maps = { readonly [T in keyof Committed]: Map<string, Committed[T]> };

/** What is committed, found out from the entries alone at the moment at which the first member applies them. */
export class Truth {
  readonly #maps: Maps = {
    task: new Map(),
    service: new Map(),
    node: new Map(),
    volume: new Map(),
    network: new Map(),
    project: new Map(),
  };
  #version = 0;

  get tasks(): ReadonlyMap<string, Task> {
    return this.#maps.task;
  }
  get services(): ReadonlyMap<string, Service> {
    return this.#maps.service;
  }
  get nodes(): ReadonlyMap<string, Node> {
    return this.#maps.node;
  }
  get volumes(): ReadonlyMap<string, Volume> {
    return this.#maps.volume;
  }

  get networks(): ReadonlyMap<string, Network> {
    return this.#maps.network;
  }
  get projects(): ReadonlyMap<string, Project> {
    return this.#maps.project;
  }

  tasksOf(serviceId: string): readonly Task[] {
    return [...this.tasks.values()].filter((task) => task.serviceId === serviceId);
  }

  /** Takes an entry that is committed, in order. @returns what it changes; nothing when it is known already */
  take({ index, kind, payload }: Entry): readonly Change[] {
    if (kind !== 'command' || index <= this.#version) return [];
    this.#version = index;
    const changes: Change[] = [];
    for (const { table, id, object } of storeEntryCodec.decode(payload).changes) {
      if (!(table in this.#maps)) continue;
      const map = this.#maps[table as keyof Maps] as Map<string, unknown>;
      const before = map.get(id);
      const after = object?.[table];
      if (after === undefined) map.delete(id);
      else map.set(id, after);
      changes.push({ table, before, after } as Change);
    }
    return changes;
  }
}
