import { messageOf } from '../../../../base/errors.ts';
import { authorOf } from '../../../local-node/author.ts';
import type { NodePlace } from '../../../local-node/index.ts';
import type { Terminal } from '../../../terminal/index.ts';
import { ExitCode } from '../../../terminal/program.ts';
import { withNode } from '../../nodes/with-node.ts';
import { pickService } from '../find.ts';

/** `tsswarm service rm`: prints the names; those that cannot be removed do not keep the others. */
export function removeServices(place: NodePlace, names: readonly string[], terminal: Terminal): Promise<void> {
  const author = authorOf('tsswarm service rm');
  return withNode(place, async (node) => {
    const { services } = await node.control.listObjects({ project: '' });
    let failed = false;
    for (const name of names) {
      try {
        await node.control.removeService({ serviceId: pickService(services, name).id, author });
        terminal.out(`${name}\n`);
      } catch (error) {
        failed = true;
        terminal.err(`${terminal.errStyle('red', 'error:')} ${messageOf(error)}\n`);
      }
    }
    if (failed) throw new ExitCode(1);
  });
}
