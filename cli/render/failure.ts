import { isAbsolute, relative } from 'node:path';
import { ERROR_CATALOGUE, formatLocation, isTsswarmError, messageOf } from '../../base/errors.ts';
import type { Style } from './style.ts';

/**
 * An error for people: one line, with the place in front where there is one, and a line with what to do next.
 * @param currentDir a place below it is shown relative to it
 */
export function renderFailure(error: unknown, style: Style, currentDir: string): string {
  const where = isTsswarmError(error) ? error.where : undefined;
  const place = where === undefined ? '' : `${formatLocation({ ...where, file: nearPath(where.file, currentDir) })}: `;
  const line = `${place}${style('red', 'error:')} ${oneLine(messageOf(error))}\n`;
  const hint = isTsswarmError(error) ? error.hint : undefined;
  return hint === undefined ? line : `${line}${style('cyan', 'hint:')} ${hint}\n`;
}

/** The exit code that an error stands for; 1 for one that is not ours. */
export function exitCodeOf(error: unknown): number {
  return isTsswarmError(error) ? ERROR_CATALOGUE[error.code].exit : 1;
}

/** A path as the user would type it: relative when that is below the current directory. */
export function nearPath(path: string, currentDir: string): string {
  if (!isAbsolute(path)) return path;
  const near = relative(currentDir, path);
  return near !== '' && !near.startsWith('..') ? near : path;
}

const oneLine = (text: string): string => text.trim().replace(/\s*\n\s*/g, '; ');
