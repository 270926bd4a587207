/** What a log line carries beside its message: identifiers and reasons, one level deep. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** Structured logging, called by edges only: pure code returns its reasons instead. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line, e.g. {component, nodeId, taskId}. */
  child(fields: LogFields): Logger;
}

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/**
 * A logger that writes one JSON object a line.
 * @param write receives each finished line, with its newline
 * @param now wall time in milliseconds, for the `time` field
 * @param level lines below it are dropped
 */
export function jsonLogger(
  write: (line: string) => void,
  now: () => number,
  level: LogLevel = 'info',
  base: LogFields = {},
): Logger {
  const at =
    (lineLevel: LogLevel) =>
    (message: string, fields: LogFields = {}) => {
      if (ORDER.indexOf(lineLevel) < ORDER.indexOf(level)) return;
      write(
        JSON.stringify({ time: new Date(now()).toISOString(), level: lineLevel, ...base, ...fields, message }) + '\n',
      );
    };
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => jsonLogger(write, now, level, { ...base, ...fields }),
  };
}

/** Drops every line. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};
