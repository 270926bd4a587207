const CODES = {
  red: 31,
  green: 32,
  yellow: 33,
  blue: 34,
  magenta: 35,
  cyan: 36,
  brightGreen: 92,
  brightYellow: 93,
  brightBlue: 94,
  brightMagenta: 95,
  brightCyan: 96,
  bold: 1,
  dim: 2,
} as const;

/** A look that a terminal can give to text. */
export type Look = keyof typeof CODES;

/** Gives text a look, or leaves it plain where colours are not wanted. */
export type Style = (look: Look, text: string) => string;

/** No look at all: for pipes, `--ansi never` and NO_COLOR. */
export const plainStyle: Style = (_look, text) => text;

/** The looks of ECMA-48 terminals. */
export const ansiStyle: Style = (look, text) => `\u001b[${CODES[look]}m${text}\u001b[0m`;

/** Colours that tell services apart, in the order in which services get them. Red is kept for errors. */
export const SERVICE_LOOKS: readonly Look[] = [
  'cyan',
  'yellow',
  'green',
  'magenta',
  'blue',
  'brightCyan',
  'brightYellow',
  'brightGreen',
  'brightMagenta',
  'brightBlue',
];

export type AnsiMode = 'auto' | 'always' | 'never';

/**
 * Whether escape sequences shall be written to a stream. `always` and `never` win; NO_COLOR (no-color.org) and a dumb
 * terminal switch colours off otherwise.
 */
export function wantsAnsi(
  mode: AnsiMode,
  isTerminal: boolean,
  environment: Readonly<Record<string, string | undefined>>,
): boolean {
  if (mode !== 'auto') return mode === 'always';
  return isTerminal && !environment['NO_COLOR'] && environment['TERM'] !== 'dumb';
}
