import { TsswarmError } from '../../base/errors.ts';
import type { SourceLocation } from '../../base/errors.ts';

/** One instruction of a Dockerfile, continuation lines joined. */
export interface Instruction {
  /** Upper case: "RUN". */
  readonly name: string;
  /** `--name=value` and `--name` before the arguments. */
  readonly flags: ReadonlyMap<string, string>;
  /** What follows the flags, untouched. */
  readonly rest: string;
  /** The arguments when they are a JSON list of strings (exec form). */
  readonly json: readonly string[] | undefined;
  readonly where: SourceLocation;
}

const KNOWN = [
  'FROM',
  'RUN',
  'CMD',
  'LABEL',
  'MAINTAINER',
  'EXPOSE',
  'ENV',
  'ADD',
  'COPY',
  'ENTRYPOINT',
  'VOLUME',
  'USER',
  'WORKDIR',
  'ARG',
  'ONBUILD',
  'STOPSIGNAL',
  'HEALTHCHECK',
  'SHELL',
];

/**
 * Reads a Dockerfile (Dockerfile reference, "Format"): parser directive `escape`, comments, continuation lines, flags,
 * exec form.
 * @throws INVALID_INPUT, NOT_SUPPORTED with file, line and column
 */
export function parseDockerfile(text: string, file: string): readonly Instruction[] {
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  const escape = escapeDirective(lines);
  const continued = new RegExp(`\\${escape}[ \\t]*$`);
  const instructions: Instruction[] = [];
  for (let i = 0; i < lines.length; i++) {
    const first = lines[i] ?? '';
    if (/^\s*(#|$)/.test(first)) continue;
    const where = { file, line: i + 1, column: first.length - first.trimStart().length + 1 };
    let logical = first;
    while (continued.test(logical) && i + 1 < lines.length) {
      const next = lines[++i] ?? '';
      // Comments and empty lines between continuation lines do not end them.
      if (/^\s*(#|$)/.test(next)) {
        if (i + 1 >= lines.length) logical = logical.replace(continued, '');
        continue;
      }
      logical = logical.replace(continued, '') + next;
    }
    instructions.push(parseLine(logical.replace(continued, '').trim(), where));
  }
  return instructions;
}

function escapeDirective(lines: readonly string[]): string {
  for (const line of lines) {
    const directive = /^#\s*(\w+)\s*=\s*(\S+)/.exec(line);
    if (directive === null) return '\\';
    if (directive[1]?.toLowerCase() === 'escape' && directive[2] === '`') return '`';
  }
  return '\\';
}

function parseLine(line: string, where: SourceLocation): Instruction {
  const [, word = '', after = ''] = /^(\S+)\s*(.*)$/s.exec(line) ?? [];
  const name = word.toUpperCase();
  if (!KNOWN.includes(name)) {
    throw new TsswarmError('INVALID_INPUT', `reading the Dockerfile: unknown instruction "${word}"`, { where });
  }
  if (name === 'ONBUILD')
    throw new TsswarmError('NOT_SUPPORTED', 'reading the Dockerfile: ONBUILD is not supported yet', { where });
  const flags = new Map<string, string>();
  let rest = after;
  for (
    let flag = /^--([a-z-]+)(?:=(\S*))?\s*/.exec(rest);
    flag !== null;
    flag = /^--([a-z-]+)(?:=(\S*))?\s*/.exec(rest)
  ) {
    flags.set(flag[1] ?? '', flag[2] ?? 'true');
    rest = rest.slice(flag[0].length);
  }
  if (/<<-?["']?\w/.test(rest) && ['RUN', 'COPY', 'ADD'].includes(name)) {
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `reading the Dockerfile: here-documents (in ${name}) are not supported yet`,
      { where },
    );
  }
  if (rest === '')
    throw new TsswarmError('INVALID_INPUT', `reading the Dockerfile: ${name} has no arguments`, { where });
  return { name, flags, rest, json: parseJson(rest), where };
}

function parseJson(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value = JSON.parse(text) as unknown;
    return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined;
  } catch {
    return undefined;
  }
}
