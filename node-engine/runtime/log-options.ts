import { TsswarmError } from '../../base/errors.ts';
import type { LogConfig } from '../../proto/types/index.ts';

/** How the supervisor rotates; `maxBytes` 0: never. */
export interface LogRotation {
  readonly maxBytes: number;
  readonly maxFiles: number;
}

/** Defaults of Docker's drivers (docs: logging drivers). */
const DEFAULTS: Readonly<Record<string, LogRotation>> = {
  'json-file': { maxBytes: 0, maxFiles: 1 },
  local: { maxBytes: 20_000_000, maxFiles: 5 },
};

/**
 * What to do with a container's output. "local" is kept in the same format as "json-file", with its own defaults.
 * @returns undefined for the driver "none"
 * @throws NOT_SUPPORTED for another driver or option, INVALID_INPUT for a malformed value
 */
export function parseLogConfig({ driver, options }: LogConfig): LogRotation | undefined {
  if (driver === 'none') return undefined;
  const defaults = DEFAULTS[driver === '' ? 'json-file' : driver];
  if (defaults === undefined) {
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `logging with driver "${driver}": not supported, expected "json-file", "local" or "none"`,
    );
  }
  let { maxBytes, maxFiles } = defaults;
  for (const [name, value] of Object.entries(options)) {
    if (name === 'max-size') maxBytes = parseSize(value);
    else if (name === 'max-file') maxFiles = parseCount(value);
    else if (name === 'compress' && value === 'false') continue;
    else {
      throw new TsswarmError(
        'NOT_SUPPORTED',
        `logging with option "${name}=${value}": not supported, expected max-size or max-file`,
      );
    }
  }
  if (maxFiles > 1 && maxBytes === 0) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `logging with option "max-file=${maxFiles}": there is no max-size, expected one beside it`,
    );
  }
  return { maxBytes, maxFiles };
}

/** "10m" and the like: decimal units, as Docker's. "-1": unlimited. */
function parseSize(value: string): number {
  if (value === '-1') return 0;
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)\s*([kmg]?)b?$/i.exec(value) ?? [];
  const bytes = Math.floor(
    Number(number) * { '': 1, k: 1e3, m: 1e6, g: 1e9 }[unit.toLowerCase() as '' | 'k' | 'm' | 'g'],
  );
  if (number !== '' && bytes > 0) return bytes;
  throw new TsswarmError('INVALID_INPUT', `logging with option "max-size=${value}": expected a size such as "10m"`);
}

function parseCount(value: string): number {
  const count = Number(value);
  if (Number.isInteger(count) && count >= 1 && value.trim() !== '') return count;
  throw new TsswarmError('INVALID_INPUT', `logging with option "max-file=${value}": expected a number from 1`);
}
