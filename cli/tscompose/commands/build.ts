import { TsswarmError } from '../../../base/errors.ts';
import type { Context } from '../context.ts';
import { desiredProject, selectServices } from '../project/desired.ts';
import { buildImages } from '../project/build.ts';

export interface BuildCommandOptions {
  readonly buildArg?: readonly string[];
  /** false with --no-cache. */
  readonly cache: boolean;
  readonly pull?: boolean;
  readonly quiet?: boolean;
  readonly withDependencies?: boolean;
  readonly yes?: boolean;
}

/** Builds the images of services that have `build:`. */
export async function build(context: Context, names: readonly string[], options: BuildCommandOptions): Promise<void> {
  const project = await context.loadProject(names);
  const services = selectServices(project, names, names.length === 0 || options.withDependencies === true);
  const { builds } = await desiredProject(context, project);
  const chosen = [...services.keys()].flatMap((name) => builds.filter(({ service }) => service === name));
  if (chosen.length === 0) return context.warn('none of the services has "build:", nothing is built');
  const node = await context.openOrStartNode(options.yes === true);
  try {
    await buildImages(context, node, chosen, {
      noCache: !options.cache,
      pull: options.pull === true,
      quiet: options.quiet === true,
      args: Object.fromEntries((options.buildArg ?? []).map(readArgument)),
    });
  } finally {
    node.close();
  }
}

/** `NAME=value`, or a name whose value is in our own environment. @throws INVALID_INPUT */
function readArgument(text: string): readonly [string, string] {
  const split = text.indexOf('=');
  if (split > 0) return [text.slice(0, split), text.slice(split + 1)];
  const own = process.env[text];
  if (split < 0 && own !== undefined) return [text, own];
  throw new TsswarmError('INVALID_INPUT', `using --build-arg "${text}": expected NAME=VALUE or a variable that is set`);
}
