import { imageOf } from '../../../compose/index.ts';
import type { Context } from '../context.ts';
import { selectServices } from '../project/desired.ts';
import { pullImages } from '../project/images.ts';
import { TsswarmError } from '../../../base/errors.ts';

export interface PullOptions {
  readonly ignoreBuildable?: boolean;
  readonly ignorePullFailures?: boolean;
  readonly includeDeps?: boolean;
  readonly quiet?: boolean;
  readonly policy?: string;
  readonly yes?: boolean;
}

/** Pulls the images of services; one that can be built and has no name of its own is left out. */
export async function pull(context: Context, names: readonly string[], options: PullOptions): Promise<void> {
  if (options.policy !== undefined && options.policy !== 'always' && options.policy !== 'missing') {
    throw new TsswarmError('INVALID_INPUT', `using --policy "${options.policy}": expected always or missing`);
  }
  const project = await context.loadProject(names);
  const services = selectServices(project, names, options.includeDeps === true);
  const node = await context.openOrStartNode(options.yes === true);
  try {
    const references = new Set<string>();
    for (const [name, service] of services) {
      if (service.build !== undefined && (service.image === undefined || options.ignoreBuildable === true)) continue;
      const reference = imageOf(project, name, service);
      if (options.policy === 'missing' && (await node.images.find({ reference })).image !== undefined) continue;
      references.add(reference);
    }
    await pullImages(context, node, [...references], options.quiet === true, options.ignorePullFailures === true);
  } finally {
    node.close();
  }
}
