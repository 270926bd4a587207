import { TsswarmError } from '../../../base/errors.ts';
import { isServing } from '../../../manager/model/task-state.ts';
import type { NodePlace, PlaceOptions } from '../../local-node/place.ts';
import { renderList } from '../../render/format.ts';
import { createContext } from '../../tscompose/context.ts';
import type { Context } from '../../tscompose/context.ts';
import type { Terminal } from '../../terminal/index.ts';
import { ExitCode } from '../../terminal/program.ts';
import type { NodeTasksOptions } from '../commands/node-ps.ts';
import { withNode } from '../nodes/with-node.ts';
import { byName } from '../nodes/words.ts';
import { renderServiceTasks } from '../services/commands/ps.ts';
import { filterServices } from '../services/filters.ts';
import { renderServices } from '../services/list.ts';
import type { ServiceListOptions } from '../services/list.ts';

/** Files of a stack as they are given. */
export interface FileOptions {
  readonly composeFile?: readonly string[];
}

/**
 * A stack as tscompose's commands take a project: a stack is one.
 * @param name undefined: as the files say
 */
export function stackContext(
  place: PlaceOptions,
  name: string | undefined,
  { composeFile = [] }: FileOptions,
  command: string,
  terminal: Terminal,
): Context {
  const options = { ...place, file: composeFile, ...(name === undefined ? {} : { projectName: name }) };
  return { ...createContext(options, terminal), command: `tsswarm ${command}` };
}

/** A context that reads no files: what the cluster has is all there is. */
export function bareContext(place: PlaceOptions, name: string, command: string, terminal: Terminal): Context {
  const context = stackContext(place, name, {}, command, terminal);
  return { ...context, findProject: () => Promise.resolve(undefined), projectName: () => Promise.resolve(name) };
}

export interface DeployOptions extends FileOptions {
  readonly detach?: boolean;
  readonly prune?: boolean;
  readonly quiet?: boolean;
  readonly dryRun?: boolean;
  readonly resolveImage?: string;
  readonly withRegistryAuth?: boolean;
}

/** `tsswarm stack deploy`: as `tscompose up -d`, under the name of the stack. */
export async function deploy(
  place: PlaceOptions,
  name: string,
  options: DeployOptions,
  terminal: Terminal,
): Promise<void> {
  demandFiles(options, 'deploy');
  if (options.withRegistryAuth === true)
    throw new TsswarmError('NOT_SUPPORTED', 'using --with-registry-auth: logins at registries are not supported yet');
  if (options.resolveImage !== undefined && !['never', 'changed'].includes(options.resolveImage))
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `using --resolve-image "${options.resolveImage}": tags are not resolved to digests yet, expected never`,
    );
  const { up } = await import('../../tscompose/commands/up.ts');
  await up(quietly(stackContext(place, name, options, 'stack deploy', terminal), options.quiet), [], {
    detach: true,
    unwatched: options.detach === true,
    dryRun: options.dryRun === true,
    recreate: true,
    deps: true,
    start: true,
    color: true,
    logPrefix: true,
    removeOrphans: options.prune === true,
    quietPull: options.quiet === true,
  });
}

const quietly = (context: Context, quiet = false): Context =>
  quiet ? { ...context, openDisplay: (title, more) => context.openDisplay(title, { ...more, quiet: true }) } : context;

function demandFiles({ composeFile }: FileOptions, command: string): void {
  if (composeFile !== undefined && composeFile.length > 0) return;
  throw new TsswarmError('INVALID_INPUT', `using stack ${command}: no compose file is given`, {
    hint: 'name it with -c <file>; "-" is standard input',
  });
}

/** `tsswarm stack diff`: what a deploy would change. */
export async function diffStack(
  place: PlaceOptions,
  name: string,
  options: FileOptions & { readonly prune?: boolean; readonly exitCode?: boolean },
  terminal: Terminal,
): Promise<void> {
  demandFiles(options, 'diff');
  const { diff } = await import('../../tscompose/commands/diff.ts');
  await diff(stackContext(place, name, options, 'stack diff', terminal), options);
}

/** `tsswarm stack config`: the resolved file. */
export async function configStack(
  place: PlaceOptions,
  options: FileOptions & { readonly skipInterpolation?: boolean; readonly format?: string },
  terminal: Terminal,
): Promise<void> {
  demandFiles(options, 'config');
  const { config } = await import('../../tscompose/commands/config.ts');
  await config(stackContext(place, undefined, options, 'stack config', terminal), [], {
    format: options.format ?? 'yaml',
    interpolate: options.skipInterpolation !== true,
  });
}

/** `tsswarm stack rm`: takes stacks down in the reverse order of their dependencies, and waits; volumes stay. */
export async function removeStacks(place: PlaceOptions, names: readonly string[], terminal: Terminal): Promise<void> {
  const { down } = await import('../../tscompose/commands/down.ts');
  let isWhole = true;
  for (const name of names) {
    const context = bareContext(place, name, 'stack rm', terminal);
    const node = await context.openNode();
    const { services, networks } = await node.control.listObjects({ project: name }).finally(() => node.close());
    if (services.length + networks.length === 0) terminal.err(`Nothing found in stack: ${name}\n`);
    else isWhole = (await down(context, [], {})).keptNetworks.length === 0 && isWhole;
  }
  if (!isWhole) throw new ExitCode(1);
}

const COLUMNS = [
  { name: 'Name', heading: 'NAME' },
  { name: 'Services', heading: 'SERVICES' },
  { name: 'Running', heading: 'RUNNING', hidden: true },
] as const;

/** `tsswarm stack ls`: stacks with services; what was taken down and has left only volumes is none. */
export function listStacks(
  place: NodePlace,
  { format }: { readonly format?: string },
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const { projects, services, tasks } = await node.control.listObjects({ project: '' });
    const rows = projects
      .map(({ id, name }) => ({
        Name: name,
        Services: services.filter(({ projectId }) => projectId === id).length,
        Running: tasks.filter((task) => task.projectId === id && isServing(task)).length,
      }))
      .filter(({ Services }) => Services > 0)
      .sort((a, b) => byName(a.Name, b.Name));
    terminal.out(renderList(format, COLUMNS, rows));
  });
}

/** `tsswarm stack services`. */
export function stackServices(
  place: NodePlace,
  name: string,
  options: ServiceListOptions,
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const { services, tasks } = await node.control.listObjects({ project: name });
    if (services.length === 0) terminal.err(`Nothing found in stack: ${name}\n`);
    else terminal.out(renderServices(filterServices(services, options.filter ?? []), tasks, options));
  });
}

/** `tsswarm stack ps`. */
export function stackTasks(
  place: NodePlace,
  name: string,
  options: NodeTasksOptions,
  terminal: Terminal,
): Promise<void> {
  return withNode(place, async (node) => {
    const [{ services, tasks }, { nodes }] = await Promise.all([
      node.control.listObjects({ project: name }),
      node.control.listNodes({}),
    ]);
    if (services.length === 0)
      throw new TsswarmError('NOT_FOUND', `nothing found in stack: ${name}`, { hint: 'see tsswarm stack ls' });
    terminal.out(renderServiceTasks(services, tasks, nodes, Date.now(), options));
  });
}

/** `tsswarm stack history`. */
export async function stackHistory(
  place: PlaceOptions,
  name: string,
  options: { readonly quiet?: boolean; readonly format?: string; readonly trunc: boolean },
  terminal: Terminal,
): Promise<void> {
  const { history } = await import('../../tscompose/commands/history.ts');
  await history(bareContext(place, name, 'stack history', terminal), options);
}

/** `tsswarm stack rollback`. */
export async function rollbackStack(
  place: PlaceOptions,
  name: string,
  revision: string | undefined,
  options: { readonly detach?: boolean; readonly dryRun?: boolean },
  terminal: Terminal,
): Promise<void> {
  const { rollback } = await import('../../tscompose/commands/rollback.ts');
  await rollback(bareContext(place, name, 'stack rollback', terminal), revision, options);
}
