import { ExitCode } from '../../terminal/program.ts';
import type { Context } from '../context.ts';
import { changeLines } from '../history/changes.ts';
import { desiredProject } from '../project/desired.ts';

export interface DiffOptions {
  /** Services that the file does not have would be removed. */
  readonly prune?: boolean;
  /** End with 1 when something would change. */
  readonly exitCode?: boolean;
}

/** Shows what bringing the compose files up would change of what the cluster has. */
export async function diff(context: Context, { prune = false, exitCode = false }: DiffOptions): Promise<void> {
  const project = await context.loadProject();
  const { desired } = await desiredProject(context, project);
  const node = await context.openNode();
  try {
    const { services } = await node.control.listObjects({ project: project.name });
    const { changes } = await node.control.applyProject({
      project: desired,
      dryRun: true,
      removeOrphans: prune,
      forceRecreate: [],
      onlyServices: [],
      noRecreate: false,
      noStart: false,
    });
    const present = new Map(services.map(({ spec }) => [spec.composeName, spec]));
    const wanted = new Map(desired.services.map((spec) => [spec.composeName, spec]));
    const { out, outStyle } = context.terminal;
    const lines = changeLines(changes, present, wanted, outStyle);
    for (const line of lines) out(`${line}\n`);
    const changed = changes.some(({ action }) => action !== 'none' && action !== 'orphan');
    if (exitCode && changed) throw new ExitCode(1);
  } finally {
    node.close();
  }
}
