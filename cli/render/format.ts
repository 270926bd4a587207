import { renderTable } from './table.ts';
import { compileTemplate } from './template.ts';
import { jsonOf } from '../../base/template/index.ts';

/** A column of a list: its name in templates, and its heading. */
export interface Column {
  readonly name: string;
  readonly heading: string;
  /** Not in the usual table. */
  readonly hidden?: boolean;
}

/**
 * A list as `--format` wants it: a table (absent, "table"), a table of one's own ("table {{.ID}}\t{{.Name}}"), "json" (an
 * object a line), or a template that is filled for each row.
 * @param rows what is shown, by name of the column
 * @throws INVALID_INPUT
 */
export function renderList(
  format: string | undefined,
  columns: readonly Column[],
  rows: readonly Readonly<Record<string, unknown>>[],
): string {
  const shown = columns.filter(({ hidden }) => hidden !== true);
  if (format === undefined || format === '' || format === 'table') {
    const cells = rows.map((row) => shown.map(({ name }) => String(row[name] ?? '')));
    return renderTable(
      shown.map(({ heading }) => heading),
      cells,
    );
  }
  if (format === 'json') return rows.map((row) => `${jsonOf(row)}\n`).join('');
  const own = /^table\s+(.*)$/s.exec(format)?.[1];
  const template = compileTemplate(own ?? format);
  const lines = rows.map(template);
  if (own === undefined) return lines.map((line) => `${line}\n`).join('');
  const headings = template(Object.fromEntries(columns.map(({ name, heading }) => [name, heading])));
  return renderTable(
    headings.split('\t'),
    lines.map((line) => line.split('\t')),
  );
}

/** Objects as `inspect` shows them: JSON of all, or a template filled for each. @throws INVALID_INPUT */
export function renderObjects(format: string | undefined, objects: readonly unknown[]): string {
  if (format === undefined || format === '') return `${jsonOf(objects, 4)}\n`;
  const template = format === 'json' ? (one: unknown) => jsonOf(one) : compileTemplate(format);
  return objects.map((one) => `${template(one)}\n`).join('');
}
