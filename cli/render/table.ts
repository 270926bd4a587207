import { displayWidth, padTo } from './width.ts';

/** Narrowest column and the gap after one, as `docker ps` prints them. */
const MIN_WIDTH = 10;
const GAP = 3;

/** A table in columns, a line per row, ending with a newline. The last column is not padded. */
export function renderTable(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [headers, ...rows];
  const widths = headers.map((_, column) =>
    Math.max(MIN_WIDTH, ...lines.map((line) => displayWidth(line[column] ?? '') + GAP)),
  );
  const last = headers.length - 1;
  return lines
    .map((line) =>
      headers
        .map((_, column) => (column === last ? (line[column] ?? '') : padTo(line[column] ?? '', widths[column] ?? 0)))
        .join('')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}
