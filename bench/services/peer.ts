import type { ProcessMemory } from './memory.ts';

/** What runs services on three nodes, each of which is a manager. */
export interface Peer {
  /**
   * Creates a service of `replicas` containers that do nothing, and waits until all of them run.
   * @param onFirst all of them on the first node
   * @returns ms from the typed command on
   */
  create(replicas: number, onFirst: boolean): Promise<number>;
  /** Removes it again, and waits until nothing of it is left. */
  remove(): Promise<void>;
  /** Of the first node's daemons together, and of one container. */
  memory(): { readonly daemons: ProcessMemory; readonly container: ProcessMemory };
  stop(): Promise<void>;
}
