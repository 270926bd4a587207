/** How long a loss went unnoticed and unmended, ms from the moment of it. */
export interface Loss {
  /** The node is shown as down. */
  readonly down: number;
  /** As many containers run on other nodes as before. */
  readonly replaced: number;
}

/** What runs services on three managers and two workers. */
export interface Peer {
  /** Starts a service of that many containers on all nodes, and waits until they run. */
  serve(replicas: number): Promise<void>;
  /** Switches the last worker off at once, with all that runs on it, and watches what becomes of it. It is on again afterwards, if that is possible. */
  lose(replicas: number): Promise<Loss>;
  /** Whether it can be done again. */
  readonly repeats: boolean;
  stop(): Promise<void>;
}

const PATIENCE_MS = 120_000;
const LOOK_EVERY_MS = 20;

/** Milliseconds from `since` until `look` says so. */
export async function timeUntil(since: number, look: () => Promise<boolean>, what: string): Promise<number> {
  for (;;) {
    if (await look()) return performance.now() - since;
    if (performance.now() - since > PATIENCE_MS) throw new Error(`waiting for ${what}: not within ${PATIENCE_MS} ms`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
