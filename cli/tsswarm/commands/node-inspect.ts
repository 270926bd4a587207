import { TsswarmError } from '../../../base/errors.ts';
import { pickNode } from '../../../manager/cluster/find-node.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { renderObjects } from '../../render/format.ts';
import type { Terminal } from '../../terminal/index.ts';
import { inspected, prettyNode } from '../nodes/inspect.ts';
import { idOf, withNode } from '../nodes/with-node.ts';

export interface NodeInspectOptions {
  readonly pretty?: boolean;
  readonly format?: string;
}

/** `tsswarm node inspect`. */
export function inspectNodes(
  place: NodePlace,
  names: readonly string[],
  { pretty, format }: NodeInspectOptions,
  terminal: Terminal,
): Promise<void> {
  if (pretty === true && format !== undefined)
    throw new TsswarmError('INVALID_INPUT', 'using --pretty with --format: expected one of them');
  return withNode(place, async (node) => {
    const wanted = await Promise.all(names.map((name) => idOf(node, name)));
    const [{ nodes }, { managers }] = await Promise.all([node.control.listNodes({}), node.membership.listManagers({})]);
    const found = wanted.map((name) => {
      const one = pickNode(nodes, name);
      return inspected(
        one,
        managers.find(({ nodeId }) => nodeId === one.id),
      );
    });
    terminal.out(pretty === true ? found.map(prettyNode).join('\n') : renderObjects(format, found));
  });
}
