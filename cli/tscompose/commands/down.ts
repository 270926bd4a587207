import type { Context } from '../context.ts';
import { tasksToTakeDown } from '../progress/down.ts';
import { demandService } from '../project/existing.ts';
import { showDown } from '../project/progress.ts';
import { watchProject } from '../project/watch.ts';
import { seconds } from './up.ts';
import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import { authorOf } from '../../local-node/author.ts';
import type { NodeClient } from '../../local-node/index.ts';
import type { Service } from '../../../proto/types/index.ts';

export interface DownOptions {
  readonly volumes?: boolean;
  readonly removeOrphans?: boolean;
  readonly timeout?: string;
  readonly rmi?: string;
}

/**
 * Takes a project, or some of its services, down: containers, networks, with -v volumes.
 * @returns the networks that services of others are on: they stay
 */
export async function down(
  context: Context,
  names: readonly string[],
  options: DownOptions,
): Promise<{ readonly keptNetworks: readonly string[] }> {
  if (options.rmi !== undefined && options.rmi !== 'all' && options.rmi !== 'local') {
    throw new TsswarmError('INVALID_INPUT', `using --rmi "${options.rmi}": expected all or local`);
  }
  const graceOverrideMs = options.timeout === undefined ? -1 : seconds(options.timeout, '--timeout') * 1000;
  const project = await context.findProject();
  const name = project?.name ?? (await context.projectName());
  const node = await context.openNode();
  const watch = await watchProject(node.control, name);
  try {
    const { view } = watch;
    const services = [...view.services.values()];
    for (const service of names) demandService(services, service, name);
    const known = project === undefined ? undefined : [...Object.keys(project.services), ...project.disabled];
    const orphans = services.filter(({ spec }) => known !== undefined && !known.includes(spec.composeName));
    const keepsOrphans = orphans.length > 0 && options.removeOrphans !== true && names.length === 0;
    const only = keepsOrphans ? services.filter((service) => !orphans.includes(service)) : undefined;
    const chosen = names.length > 0 ? names : (only?.map(({ spec }) => spec.composeName) ?? []);
    const isWhole = names.length === 0 && !keepsOrphans;
    const found = chosen.length > 0 || isWhole;
    const before = {
      tasks: tasksToTakeDown(view, isWhole ? undefined : new Set(chosen), false),
      networks: isWhole ? [...view.networks.values()] : [],
      volumes: isWhole && options.volumes === true ? [...view.volumes.values()] : [],
    };
    let keptNetworks: readonly string[] = [];
    if (found) {
      const answer = await node.control.removeProject({
        name,
        removeVolumes: isWhole && options.volumes === true,
        services: chosen,
        graceOverrideMs,
        author: authorOf(context.command ?? 'tscompose down'),
      });
      keptNetworks = answer.keptNetworks;
      for (const warning of answer.warnings) context.warn(warning);
    }
    const networks = before.networks.filter(({ spec }) => !keptNetworks.includes(spec.name));
    const plan = { ...before, networks, keeps: false };
    if (plan.tasks.length + plan.networks.length + plan.volumes.length === 0 && services.length === 0) {
      context.warn(`nothing of project "${name}" is there to remove`);
    }
    await showDown(context, watch, plan, 'Removing');
    if (keepsOrphans) {
      context.warn(
        `project "${name}" has services that the compose file does not (orphans): ` +
          `${orphans.map(({ spec }) => spec.composeName).join(', ')}; they and the networks stay; ` +
          'remove them with --remove-orphans',
      );
    }
    if (options.rmi !== undefined) await removeImages(context, node, name, services, options.rmi === 'local');
    return { keptNetworks };
  } finally {
    watch.close();
    node.close();
  }
}

/** @param onlyLocal only images without a name of their own: those that were built for the service */
async function removeImages(
  context: Context,
  node: NodeClient,
  project: string,
  services: readonly Service[],
  onlyLocal: boolean,
): Promise<void> {
  const images = new Set(
    services
      .filter(({ spec }) => !onlyLocal || spec.task.container.image === `${project}-${spec.composeName}`)
      .map(({ spec }) => spec.task.container.image),
  );
  for (const reference of images) {
    try {
      await node.images.remove({ reference });
      context.terminal.err(` Image ${reference}  Removed\n`);
    } catch (error) {
      if (!isTsswarmError(error, 'NOT_FOUND') && !isTsswarmError(error, 'IN_USE')) throw error;
      context.warn(error.message);
    }
  }
}
