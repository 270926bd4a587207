import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { LogRecord } from '../types.ts';

/**
 * Adds lines to a json-file log beside the supervisor that writes it. Both append whole records, each with one call (O_APPEND), so that
 * none is cut by the other. The supervisor does not count these bytes when it rotates: they must be few.
 * @param now wall time, ms
 */
export async function appendLog(
  path: string,
  stream: LogRecord['stream'],
  lines: readonly string[],
  now: number,
): Promise<void> {
  const time = new Date(now).toISOString();
  const records = lines.map((line) => `${JSON.stringify({ log: `${line}\n`, stream, time })}\n`).join('');
  const { O_WRONLY, O_APPEND, O_CREAT, O_NOFOLLOW } = constants;
  const handle = await open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600);
  try {
    await handle.write(Buffer.from(records));
  } finally {
    await handle.close();
  }
}
