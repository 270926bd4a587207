import { TsswarmError } from '../../../base/errors.ts';
import type { ListRevisionsResponse, Revision, ServiceSpec } from '../../../proto/types/index.ts';
import { durationWords } from '../../render/duration.ts';
import { renderList } from '../../render/format.ts';
import type { Column } from '../../render/format.ts';
import { cutTo } from '../../render/width.ts';
import type { Context } from '../context.ts';
import { changeSummary } from '../history/changes.ts';
import type { SpecsByName } from '../history/changes.ts';

export interface HistoryOptions {
  readonly quiet?: boolean;
  readonly format?: string;
  readonly trunc: boolean;
}

const COLUMNS: readonly Column[] = [
  { name: 'Revision', heading: 'REVISION' },
  { name: 'Created', heading: 'CREATED' },
  { name: 'CreatedAt', heading: 'CREATED AT', hidden: true },
  { name: 'User', heading: 'BY' },
  { name: 'Command', heading: 'COMMAND' },
  { name: 'Changes', heading: 'CHANGES' },
];
const CHANGE_COLUMNS = 70;

/** Lists the revisions of a project that are kept, the newest first. */
export async function history(context: Context, options: HistoryOptions): Promise<void> {
  const project = await context.projectName();
  const node = await context.openNode();
  try {
    const answer = await node.control.listRevisions({ project, serviceId: '' });
    if (answer.revisions.length === 0) {
      throw new TsswarmError('NOT_FOUND', `showing the history of "${project}": no revision of it is kept`, {
        hint: 'every change makes one from now on',
      });
    }
    context.terminal.out(renderHistory(answer, Date.now(), options));
    for (const name of answer.departed) {
      context.warn(
        `service "${name}" is not what revision ${answer.revisions[0]?.number ?? 0} says: its update was rolled back`,
      );
    }
  } finally {
    node.close();
  }
}

/** @param now wall time, ms */
export function renderHistory(
  { revisions }: Pick<ListRevisionsResponse, 'revisions'>,
  now: number,
  { quiet, format, trunc }: HistoryOptions,
): string {
  if (quiet === true && format === undefined) return revisions.map(({ number }) => `${number}\n`).join('');
  const rows = revisions.map((revision, index) => {
    const { number, meta, author, changes } = revision;
    const summary = changeSummary(changes, specsOf(revisions[index + 1]), specsOf(revision));
    return {
      Revision: number,
      Created: `${durationWords(Math.max(0, now - meta.createdAt))} ago`,
      CreatedAt: new Date(meta.createdAt).toISOString(),
      User: author?.user ?? '',
      Command: author?.command ?? '',
      Changes: trunc ? cutTo(summary, CHANGE_COLUMNS) : summary,
    };
  });
  return renderList(format, COLUMNS, rows);
}

/** The services of a revision by compose name. */
export function specsOf(revision: Pick<Revision, 'desired'> | undefined): SpecsByName {
  return new Map(revision?.desired.services.map((spec: ServiceSpec) => [spec.composeName, spec]));
}
