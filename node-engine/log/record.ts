import type { LogRecord } from '../types.ts';

/**
 * One line of a json-file log as a record; undefined for a line that was cut short by a crash or a full disk.
 * The format is Docker's: {"log":"text\n","stream":"stdout","time":"RFC 3339 with nanoseconds"}.
 */
export function parseRecord(line: string): LogRecord | undefined {
  try {
    const { log, stream, time } = JSON.parse(line) as Partial<Record<string, unknown>>;
    if (typeof log !== 'string' || typeof time !== 'string' || (stream !== 'stdout' && stream !== 'stderr'))
      return undefined;
    const timeNs = parseTime(time);
    return timeNs === undefined ? undefined : { stream, timeNs, data: Buffer.from(log) };
  } catch {
    return undefined;
  }
}

/** "2026-01-02T03:04:05.123456789Z" in nanoseconds since the epoch. */
function parseTime(time: string): bigint | undefined {
  const [, seconds = '', fraction = ''] = /^(.{19})(?:\.(\d{1,9}))?Z$/.exec(time) ?? [];
  const ms = Date.parse(`${seconds}Z`);
  return Number.isNaN(ms) ? undefined : BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0'));
}
