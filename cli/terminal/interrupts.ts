/**
 * Interruptions by the user or the system, counted: the first asks for a graceful end, the second for an end at once.
 * While one of these is open the signals no longer end the process by themselves.
 */
export interface Interrupts {
  /** Aborts at the first SIGINT, SIGTERM or SIGHUP. */
  readonly first: AbortSignal;
  /** Aborts at the second. */
  readonly second: AbortSignal;
  close(): void;
}

export function watchInterrupts(): Interrupts {
  const first = new AbortController();
  const second = new AbortController();
  const onSignal = (): void => (first.signal.aborted ? second : first).abort(new Error('interrupted'));
  for (const name of SIGNALS) process.on(name, onSignal);
  return {
    first: first.signal,
    second: second.signal,
    close() {
      for (const name of SIGNALS) process.removeListener(name, onSignal);
    },
  };
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
