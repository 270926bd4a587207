import { TsswarmError } from '../../../../base/errors.ts';
import type { NodePlace } from '../../../local-node/index.ts';
import { renderObjects } from '../../../render/format.ts';
import type { Terminal } from '../../../terminal/index.ts';
import { withNode } from '../../nodes/with-node.ts';
import { pickService } from '../find.ts';
import { inspectedService } from '../inspect.ts';
import { prettyService } from '../pretty.ts';

/** `tsswarm service inspect`. */
export function inspectServices(
  place: NodePlace,
  names: readonly string[],
  { pretty, format }: { readonly pretty?: boolean; readonly format?: string },
  terminal: Terminal,
): Promise<void> {
  if (pretty === true && format !== undefined)
    throw new TsswarmError('INVALID_INPUT', 'using --pretty with --format: expected one of them');
  return withNode(place, async (node) => {
    const { services } = await node.control.listObjects({ project: '' });
    const found = names.map((name) => pickService(services, name));
    const isPretty = pretty === true || format === 'pretty';
    terminal.out(
      isPretty
        ? found.map((service) => prettyService(service, Date.now())).join('\n')
        : renderObjects(format, found.map(inspectedService)),
    );
  });
}
