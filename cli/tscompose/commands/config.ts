import { writeFile } from 'node:fs/promises';
import { TsswarmError } from '../../../base/errors.ts';
import { configHash, imageOf, renderConfig } from '../../../compose/index.ts';
import type { ComposeProject } from '../../../compose/index.ts';
import type { Context } from '../context.ts';
import { selectServices } from '../project/desired.ts';

export interface ConfigOptions {
  readonly format: string;
  readonly quiet?: boolean;
  readonly output?: string;
  readonly services?: boolean;
  readonly volumes?: boolean;
  readonly networks?: boolean;
  readonly images?: boolean;
  readonly profiles?: boolean;
  readonly hash?: string;
  /** false with --no-interpolate. */
  readonly interpolate: boolean;
}

/** Prints the canonical project, or names of its parts one per line. */
export async function config(context: Context, names: readonly string[], options: ConfigOptions): Promise<void> {
  if (options.format !== 'yaml' && options.format !== 'json') {
    throw new TsswarmError('INVALID_INPUT', `using --format "${options.format}": expected yaml or json`);
  }
  const whole = await context.loadProject(names, options.interpolate);
  const project: ComposeProject =
    names.length === 0 ? whole : { ...whole, services: Object.fromEntries(selectServices(whole, names)) };
  if (options.quiet === true) return;
  const text = renderParts(project, options) ?? renderConfig(project, options.format);
  if (options.output === undefined) context.terminal.out(text);
  else await writeFile(options.output, text);
}

function renderParts(project: ComposeProject, options: ConfigOptions): string | undefined {
  const lines = (values: readonly string[]): string => values.map((value) => `${value}\n`).join('');
  if (options.services === true) return lines(Object.keys(project.services));
  if (options.volumes === true) return lines(Object.keys(project.volumes));
  if (options.networks === true) return lines(Object.keys(project.networks));
  if (options.profiles === true) return lines(project.profiles);
  if (options.images === true) {
    return lines(Object.entries(project.services).map(([name, service]) => imageOf(project, name, service)));
  }
  if (options.hash === undefined) return undefined;
  const chosen = selectServices(project, options.hash === '*' ? [] : options.hash.split(','), false);
  return lines([...chosen].map(([name, service]) => `${name} ${configHash(service)}`));
}
