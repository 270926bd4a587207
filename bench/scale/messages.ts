/** What the bench asks of the process with the agents. */
export type Order =
  | { readonly kind: 'join'; readonly token: string; readonly managers: readonly string[]; readonly count: number }
  /** So many agents fall silent, as machines do that lose their power. */
  | { readonly kind: 'silence'; readonly count: number };

/** What it says, every so often and at once when an order is done. */
export interface Standing {
  readonly joined: number;
  /** Agents with a session, and sessions that were lost so far. */
  readonly sessions: number;
  readonly lost: number;
  /** Tasks that run on agents that are not silent, as the managers have acknowledged. */
  readonly running: number;
  readonly started: number;
  readonly stopped: number;
  /** ms of CPU of the process. */
  readonly cpuMs: number;
  readonly rss: number;
  /** Nodes that have fallen silent. */
  readonly silent: readonly string[];
}
