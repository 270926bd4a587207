import type { Drift } from '../../proto/types/index.ts';
import { durationWords } from './duration.ts';
import { renderList } from './format.ts';
import type { Column } from './format.ts';
import { cutTo } from './width.ts';

/** What was found changed by hand on the container of a task. */
export interface FoundOn {
  /** What the task is called. */
  readonly task: string;
  /** Host name of its node. */
  readonly node: string;
  readonly drift: Drift;
}

const COLUMNS: readonly Column[] = [
  { name: 'Name', heading: 'NAME' },
  { name: 'Node', heading: 'NODE' },
  { name: 'Field', heading: 'FIELD' },
  { name: 'Expected', heading: 'EXPECTED' },
  { name: 'Found', heading: 'FOUND' },
  { name: 'Outcome', heading: 'OUTCOME' },
  { name: 'When', heading: 'WHEN' },
];
const VALUE_COLUMNS = 30;
const OUTCOME_COLUMNS = 60;

/**
 * A line for each field, the newest first within a task.
 * @param now wall time, ms
 * @param format as `--format` has it; undefined: a table
 */
export function renderDrifts(
  found: readonly FoundOn[],
  now: number,
  format: string | undefined,
  trunc: boolean,
): string {
  const cut = (text: string, columns: number): string => (trunc ? cutTo(text, columns) : text);
  const rows = found.map(({ task, node, drift }) => ({
    Name: task,
    Node: node,
    Field: drift.field,
    Expected: cut(drift.expected, VALUE_COLUMNS),
    Found: cut(drift.found, VALUE_COLUMNS),
    Outcome: cut(outcomeOf(drift), OUTCOME_COLUMNS),
    When: `${durationWords(now - drift.at).toLowerCase()} ago`,
  }));
  return renderList(format, COLUMNS, rows);
}

function outcomeOf({ repaired, reason, count }: Drift): string {
  if (!repaired) return `not repaired: ${reason}`;
  return count > 1 ? `repaired, ${count} times` : 'repaired';
}
