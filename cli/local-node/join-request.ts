import { join } from 'node:path';
import type { NodeAvailability } from '../../proto/types/index.ts';

/**
 * What `tsswarm join` leaves for the daemon that it starts. A file (mode 0600), because a token on a command line can be
 * read by everybody on the machine.
 */
export interface JoinRequest {
  /** A manager's "host:port". */
  readonly address: string;
  readonly token: string;
  readonly availability: NodeAvailability;
}

export const joinRequestPath = (stateDir: string): string => join(stateDir, 'join.json');
