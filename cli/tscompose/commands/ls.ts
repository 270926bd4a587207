import { TsswarmError } from '../../../base/errors.ts';
import { renderTable } from '../../render/index.ts';
import type { Context } from '../context.ts';
import { containersOf } from './ps.ts';
import { stateWord } from '../containers/describe.ts';

export interface LsOptions {
  readonly all?: boolean;
  readonly quiet?: boolean;
  readonly format: string;
}

/** Lists projects: those with running containers, with -a all. */
export async function ls(context: Context, options: LsOptions): Promise<void> {
  if (options.format !== 'table' && options.format !== 'json') {
    throw new TsswarmError('INVALID_INPUT', `using --format "${options.format}": expected table or json`);
  }
  const node = await context.openNode();
  try {
    const { projects, services, tasks } = await node.control.listObjects({ project: '' });
    const rows = projects
      .map((project) => {
        const own = services.filter(({ projectId }) => projectId === project.id);
        const states = containersOf(own, tasks).map(({ task }) => stateWord(task));
        return {
          Name: project.name,
          Status: countStates(states),
          ConfigFiles: project.configFiles.join(','),
          runs: states.includes('running') || states.includes('restarting'),
        };
      })
      .filter(({ runs }) => options.all === true || runs)
      .sort((a, b) => a.Name.localeCompare(b.Name));
    const { out } = context.terminal;
    if (options.quiet === true) for (const { Name } of rows) out(`${Name}\n`);
    else if (options.format === 'json') out(`${JSON.stringify(rows.map(({ runs: _, ...row }) => row))}\n`);
    else {
      out(
        renderTable(
          ['NAME', 'STATUS', 'CONFIG FILES'],
          rows.map(({ Name, Status, ConfigFiles }) => [Name, Status, ConfigFiles]),
        ),
      );
    }
  } finally {
    node.close();
  }
}

/** "running(2), exited(1)"; "empty" for a project without containers. */
export function countStates(states: readonly string[]): string {
  const counts = Map.groupBy(states, (state) => state);
  const texts = [...counts].sort(([a], [b]) => (a < b ? 1 : -1)).map(([state, all]) => `${state}(${all.length})`);
  return texts.length === 0 ? 'empty' : texts.join(', ');
}
