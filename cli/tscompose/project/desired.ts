import { convertProject, diskReader, imageOf, readContents } from '../../../compose/index.ts';
import type { ComposeProject, ComposeService, Conversion } from '../../../compose/index.ts';
import { TsswarmError } from '../../../base/errors.ts';
import type { DesiredProject } from '../../../proto/types/index.ts';
import type { NodeClient } from '../../local-node/index.ts';
import type { Context } from '../context.ts';
import type { ProjectView } from './view.ts';

/** Converts a project, with the bytes of its secrets and configs; warnings are shown. */
export async function desiredProject(
  context: Context,
  project: ComposeProject,
  scale: Readonly<Record<string, number>> = {},
): Promise<Conversion> {
  const reader = diskReader(() => Promise.resolve(''));
  const files = await readContents(project, reader, process.env);
  const conversion = convertProject(project, { files, scale });
  for (const warning of conversion.warnings) context.warn(warning);
  return conversion;
}

/**
 * The named services with everything they depend on, in dependency order; all services when none is named.
 * @param withDependencies false: only the named ones (`--no-deps`)
 * @throws NOT_FOUND for a name that the project does not have
 */
export function selectServices(
  project: ComposeProject,
  names: readonly string[],
  withDependencies = true,
): ReadonlyMap<string, ComposeService> {
  const chosen = new Map<string, ComposeService>();
  const choose = (name: string): void => {
    const service = project.services[name];
    if (service === undefined || chosen.has(name)) return;
    if (withDependencies) for (const dependency of Object.keys(service.depends_on)) choose(dependency);
    chosen.set(name, service);
  };
  demandServices(project, names);
  for (const name of names.length === 0 ? Object.keys(project.services) : names) choose(name);
  return chosen;
}

/** @throws NOT_FOUND for a name that the project does not have */
export function demandServices(project: ComposeProject, names: readonly string[]): void {
  for (const name of names) {
    if (project.services[name] !== undefined) continue;
    throw new TsswarmError('NOT_FOUND', `selecting service "${name}": no such service in project "${project.name}"`, {
      hint: `its services: ${Object.keys(project.services).join(', ')}`,
    });
  }
}

/** For `--no-deps`: these services neither wait for others nor bring them along. The next `up` without it mends that. */
export function withoutDependencies(desired: DesiredProject, services: { has(name: string): boolean }): DesiredProject {
  return {
    ...desired,
    services: desired.services.map((spec) => (services.has(spec.composeName) ? { ...spec, dependsOn: [] } : spec)),
  };
}

/** `web=3` of `--scale`. @throws INVALID_INPUT */
export function parseScale(values: readonly string[]): Readonly<Record<string, number>> {
  const scale: Record<string, number> = {};
  for (const value of values) {
    const [service = '', count = ''] = value.split('=');
    if (service === '' || !/^\d+$/.test(count)) {
      throw new TsswarmError('INVALID_INPUT', `using --scale "${value}": expected SERVICE=NUMBER`);
    }
    scale[service] = Number(count);
  }
  return scale;
}

/**
 * Services whose containers run another image than the one that their name means now: it was built or pulled anew under
 * the same name. The spec does not show that, so they are asked to be replaced.
 */
export async function servicesWithNewImage(
  node: NodeClient,
  project: ComposeProject,
  services: ReadonlyMap<string, ComposeService>,
  view: ProjectView,
): Promise<readonly string[]> {
  const outdated: string[] = [];
  await Promise.all(
    [...services].map(async ([name, composeService]) => {
      const service = view.service(name);
      if (service === undefined) return;
      const tasks = [...view.currentTasks(service).values()].filter(({ status }) => status.imageDigest !== '');
      if (tasks.length === 0) return;
      const reference = imageOf(project, name, composeService);
      const { image } = await node.images.find({ reference });
      if (image === undefined) return;
      const same = [image.id, image.digest];
      if (tasks.some((task) => task.spec.container.image === reference && !same.includes(task.status.imageDigest))) {
        outdated.push(name);
      }
    }),
  );
  return outdated;
}
