import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError } from '../../../base/errors.ts';
import { parseUnlockKey } from '../../../manager/raft/seal/index.ts';
import type { NodeIdentity } from '../../../proto/rpc/certificate.ts';
import type { ServiceHandlers } from '../../../proto/rpc/server.ts';
import type { daemonService } from '../../../proto/rpc/services.ts';
import type { NodeLock } from '../lock.ts';
import { clearNode } from './clear.ts';
import { CLUSTER_STATE, NO_STORE, nodeFacts } from './daemon.ts';
import type { DaemonServiceOptions } from './daemon.ts';

export interface LockedOptions extends Pick<
  DaemonServiceOptions,
  'flags' | 'version' | 'engine' | 'logger' | 'startedAt' | 'graceMs' | 'endAgent' | 'stop'
> {
  readonly node: NodeIdentity;
  readonly lock: NodeLock;
  /** The right key was given. */
  readonly unlocked: () => void;
}

/** What a locked node says to everything else. */
export function lockedError(): TsswarmError {
  return new TsswarmError('LOCKED', 'using the cluster: it is locked, the manager of this node needs the unlock key', {
    hint: 'tsswarm unlock; the key was printed when autolock was switched on, and "tsswarm unlock-key" prints it on another manager',
  });
}

/** What a node answers while it waits for the unlock key. Its containers run. */
export function lockedHandlers(options: LockedOptions): ServiceHandlers<typeof daemonService> {
  const { flags, engine, node, lock } = options;
  let given = false;
  return {
    status: () =>
      Promise.resolve({
        ...nodeFacts(options),
        nodeId: node.nodeId,
        clusterId: node.clusterId,
        role: node.role,
        ...NO_STORE,
        locked: true,
        lockedBy: lock.lockedBy() ?? '',
      }),
    unlock({ key }) {
      if (given) return Promise.resolve({});
      lock.unlock(parseUnlockKey(key));
      given = true;
      options.unlocked();
      return Promise.resolve({});
    },
    async leave({ force }) {
      if (!force) {
        throw new TsswarmError('LOCKED', 'leaving the cluster: the manager of this node is locked', {
          hint: 'tsswarm unlock first; or use --force: what is on this node is given up, remove it on another manager then (tsswarm node rm --force)',
        });
      }
      await options.endAgent();
      await clearNode(engine, options.graceMs, options.logger);
      options.stop(() => {
        for (const name of CLUSTER_STATE) rmSync(join(flags.stateDir, name), { recursive: true, force: true });
      });
      return {};
    },
    forceNewCluster: () => Promise.reject(lockedError()),
  };
}
