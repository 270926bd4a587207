import type { Core } from './state.ts';

/** So many election timeouts of calm halve what is remembered of silences. */
const HALF_LIFE_TIMEOUTS = 4;
/** A silence is a reason for this many times as much patience. */
const MARGIN = 2;

/**
 * How long nobody hears of a server that lives, at this server's guess, ms: the election timeout, or more while there were silences
 * that ended by themselves. On a machine where processes wait for a processor they are longer than any fixed timeout, and each
 * election adds to the load. An accrual failure detector (Hayashibara et al., 2004) in its simplest form: twice the longest recent
 * silence, up to `maxPatience` election timeouts.
 */
export function patienceMs(core: Core, now: number): number {
  const { electionTimeoutMs, maxPatience } = core.config;
  const remembered = MARGIN * rememberedMs(core, now);
  return Math.max(electionTimeoutMs, Math.min(remembered, maxPatience * electionTimeoutMs));
}

/** A server was silent for `ms`, and is there after all; or an election came to nothing for as long. */
export function noteSilence(core: Core, ms: number, now: number): void {
  // What is no reason for more patience is not worth a calculation: this is called for every message.
  if (MARGIN * ms <= core.config.electionTimeoutMs || ms <= rememberedMs(core, now)) return;
  core.silence = { ms: Math.min(ms, core.config.maxPatience * core.config.electionTimeoutMs), notedMs: now };
}

function rememberedMs({ silence, config }: Core, now: number): number {
  if (silence.ms === 0) return 0;
  return silence.ms * 2 ** (-(now - silence.notedMs) / (HALF_LIFE_TIMEOUTS * config.electionTimeoutMs));
}
