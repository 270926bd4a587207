import { stepSeconds } from './duration.ts';
import type { Look, Style } from './style.ts';
import { cutTo, displayWidth } from './width.ts';

export type ProgressPhase = 'waiting' | 'working' | 'done' | 'warning' | 'error';

/** One line of a progress block: what it is about and how far it is. */
export interface ProgressRow {
  /** Never shown; the same row has the same key from one update to the next. */
  readonly key: string;
  /** "Container shop-web-1" */
  readonly label: string;
  /** "Starting" */
  readonly status: string;
  readonly phase: ProgressPhase;
  /** More, for a row that has it: bytes of a download, the reason of an error. */
  readonly detail?: string;
  /** Shown below another row. */
  readonly indent?: boolean;
  /** Changes on this row are not told in plain mode (bytes of a download). */
  readonly quiet?: boolean;
}

/** A row with the times at which it began and ended, ms of one monotonic clock. */
export interface TimedRow extends ProgressRow {
  readonly startedAt: number;
  readonly endedAt: number | undefined;
}

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/** One turn of the spinner moves once in this time. */
export const SPINNER_STEP_MS = 100;

export const hasEnded = (phase: ProgressPhase): boolean => phase === 'done' || phase === 'warning' || phase === 'error';

/**
 * The rows as they are now, with their times: a row that is new begins now, one that has just ended ends now, and one that
 * goes on again has not ended.
 */
export function timeRows(
  rows: readonly ProgressRow[],
  before: ReadonlyMap<string, TimedRow>,
  now: number,
): ReadonlyMap<string, TimedRow> {
  const timed = new Map<string, TimedRow>();
  for (const row of rows) {
    const known = before.get(row.key);
    const startedAt = known?.startedAt ?? now;
    timed.set(row.key, { ...row, startedAt, endedAt: hasEnded(row.phase) ? (known?.endedAt ?? now) : undefined });
  }
  return timed;
}

/**
 * The block as it is redrawn on a terminal: a heading with the count, a line per row. When there are more rows than
 * `height`, those that have ended are left out first, and a last line says how many.
 */
export function renderBlock(
  title: string,
  rows: readonly TimedRow[],
  options: { readonly width: number; readonly height: number; readonly now: number; readonly style: Style },
): readonly string[] {
  const { width, height, now, style } = options;
  const counted = rows.filter(({ indent }) => indent !== true);
  const done = counted.filter(({ phase }) => hasEnded(phase)).length;
  const lines = [`[+] ${title} ${done}/${counted.length}`];
  const shown = fit(rows, Math.max(1, height - 2));
  const labelWidth = Math.max(0, ...shown.map(labelColumns));
  const statusWidth = Math.max(0, ...shown.map(({ status }) => status.length));
  for (const row of shown) lines.push(renderRow(row, labelWidth, statusWidth, width, now, style));
  const hidden = rows.length - shown.length;
  if (hidden > 0) lines.push(`   … ${hidden} more`);
  return lines;
}

/** A row's line for output that is not redrawn. */
export function renderPlainRow(row: ProgressRow): string {
  const detail = row.detail === undefined || row.detail === '' ? '' : `  ${row.detail}`;
  return ` ${row.label}  ${row.status}${detail}`;
}

function renderRow(
  row: TimedRow,
  labelWidth: number,
  statusWidth: number,
  width: number,
  now: number,
  style: Style,
): string {
  const time = stepSeconds((row.endedAt ?? now) - row.startedAt);
  const indent = row.indent === true ? '   ' : ' ';
  const label = row.label + ' '.repeat(Math.max(0, labelWidth - labelColumns(row)));
  const timeText = row.phase === 'waiting' ? '' : time;
  const room = width - 1 - indent.length - 2 - displayWidth(label) - 2 - statusWidth - 2 - timeText.length - 2;
  const detail = row.detail === undefined || row.detail === '' ? '' : cutTo(row.detail, Math.max(0, room));
  const status = row.status + ' '.repeat(Math.max(0, statusWidth - row.status.length));
  const head = cutTo(label, Math.max(8, width - indent.length - 2 - statusWidth - 12));
  const tail = detail === '' ? '' : `  ${detail}`;
  const clock = timeText === '' ? '' : `  ${style('dim', timeText)}`;
  return `${indent}${symbolOf(row, now, style)} ${head}  ${style(LOOKS[row.phase], status)}${clock}${tail}`.trimEnd();
}

const LOOKS: Readonly<Record<ProgressPhase, Look>> = {
  waiting: 'dim',
  working: 'blue',
  done: 'green',
  warning: 'yellow',
  error: 'red',
};

function symbolOf({ phase, startedAt }: TimedRow, now: number, style: Style): string {
  switch (phase) {
    case 'done':
      return style('green', '✔');
    case 'warning':
      return style('yellow', '!');
    case 'error':
      return style('red', '✘');
    case 'waiting':
      return style('dim', '·');
    case 'working':
      return style('blue', SPINNER[Math.floor((now - startedAt) / SPINNER_STEP_MS) % SPINNER.length] ?? '⠋');
  }
}

const labelColumns = (row: ProgressRow): number => displayWidth(row.label) + (row.indent === true ? 2 : 0);

function fit(rows: readonly TimedRow[], room: number): readonly TimedRow[] {
  if (rows.length <= room) return rows;
  let excess = rows.length - Math.max(1, room - 1);
  const kept = rows.filter(({ phase }) => !(phase === 'done' && excess > 0 && excess--));
  return kept.slice(0, Math.max(1, room - 1));
}
