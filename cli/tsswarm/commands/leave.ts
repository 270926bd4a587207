import { readFileSync } from 'node:fs';
import { TsswarmError } from '../../../base/errors.ts';
import { openNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { removeUnit } from '../../local-node/start.ts';
import type { Terminal } from '../../terminal/index.ts';

const LOOK_EVERY_MS = 20;
const PATIENCE_MS = 30_000;

/** Leaves the cluster: the daemon removes what it runs and its cluster state, answers, and ends. */
export async function leave(
  place: NodePlace,
  options: { readonly force?: boolean },
  terminal: Terminal,
): Promise<void> {
  const node = await openNode(place);
  let pid: number;
  let warning: string | undefined;
  try {
    ({ pid } = await node.daemon.status({}));
    ({ warning } = await node.daemon.leave({ force: options.force === true }));
  } finally {
    node.close();
  }
  await untilEnded(pid);
  if (place.isDefault) await removeUnit();
  if (warning !== undefined) terminal.err(`warning: ${warning}\n`);
  terminal.out('Node left the swarm. Images and volumes are kept.\n');
}

/** The daemon removes its state last of all: only when it has ended a new node can be started in its place. */
async function untilEnded(pid: number): Promise<void> {
  for (const start = performance.now(); isAlive(pid);) {
    if (performance.now() - start > PATIENCE_MS) {
      throw new TsswarmError('DEADLINE_EXCEEDED', `leaving: the daemon (pid ${pid}) has left, but does not end`, {
        hint: `end it with "kill ${pid}"`,
      });
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** A process that has ended, and that its parent has not heard of yet, is a zombie (proc_pid_stat(5)). */
function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}
