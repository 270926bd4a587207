import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Whether a state directory belongs to a node of a cluster, running or not. */
export function isMember(stateDir: string): boolean {
  return ['identity/node.pem', 'manager'].some((name) => existsSync(join(stateDir, name)));
}
