import type { ProcessMemory } from './memory.ts';

/** Longest that anything asked of a peer may take. */
export const PATIENCE_MS = 120_000;
const LOOK_EVERY_MS = 5;

/** What each container runs. */
export const IMAGE = ['busybox', 'sleep', '100000'] as const;
/** What {@link Peer.deploy} deploys. */
export const PROJECT = `version: '3.8'
services: {bench: {image: busybox, command: sleep 100000, stop_grace_period: 0s}}
`;

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
  /**
   * Creates a service of one container by the command that takes all of it as flags and returns at once, and waits until it
   * is told, or sees, that it runs. It is on the bridge of its node.
   * @returns ms from the typed command on
   */
  createByFlags(): Promise<number>;
  removeByFlags(): Promise<void>;
  /** Deploys a file with one service, of one container on the project's own network, and waits until it runs. @returns ms, as above */
  deploy(): Promise<number>;
  removeDeployed(): Promise<void>;
  /** Of the first node's daemons together, and of one container. */
  memory(): { readonly daemons: ProcessMemory; readonly container: ProcessMemory };
  stop(): Promise<void>;
}

/** Looks again and again. @throws when it is not so within two minutes, or `patienceMs` */
export async function until(
  look: () => boolean | Promise<boolean>,
  what: string,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await look())) {
    if (performance.now() > deadline) throw new Error(`waiting for ${what}: not within ${patienceMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
