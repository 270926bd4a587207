import { closeSync, existsSync, fsyncSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Manager } from './manager.ts';

/** A manager without a leader for so long has lost its quorum; elections take a second or two. */
const LOST_AFTER_MS = 3_000;
/** How long a leader may take to appear, or to be missed. */
const PATIENCE_MS = 8_000;
const LOOK_EVERY_MS = 100;

/** While it is there a manager begins a new cluster with its state: a crash in the middle changes nothing about that. */
const markOf = (managerDir: string): string => join(managerDir, 'force-new-cluster');

export const newClusterIsForced = (managerDir: string): boolean => existsSync(markOf(managerDir));

/** On disk when it returns. */
export function forceNewCluster(managerDir: string): void {
  for (const path of [markOf(managerDir), managerDir]) {
    const handle = openSync(path, path === managerDir ? 'r' : 'w', 0o600);
    fsyncSync(handle);
    closeSync(handle);
  }
}

export const newClusterWasForced = (managerDir: string): void => rmSync(markOf(managerDir), { force: true });

/**
 * Looks whether a manager has lost its quorum, and what it needs to go on alone.
 * @throws NOT_SUPPORTED, IN_USE that say why it is not to be forced
 */
export async function demandLostQuorum(
  { backEnd }: Manager,
  nodeId: NodeId,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const action = 'forcing a new cluster';
  if (backEnd.reseal === undefined) {
    throw new TsswarmError('NOT_SUPPORTED', `${action}: the managers do not keep the state themselves`, {
      hint: 'bring the external store back: the managers go on by themselves then',
    });
  }
  const { members } = backEnd.group.status();
  // Its vote was given to it when it had all there was. What the store shows is no sign: after a start nothing counts as
  // committed until somebody leads.
  if (!members.some(({ id, voter }) => id === nodeId && voter)) {
    throw new TsswarmError('IN_USE', `${action}: this manager has not got the state of the cluster yet`, {
      hint: 'force it on another manager',
    });
  }
  if (members.length === 1) {
    throw new TsswarmError('IN_USE', `${action}: this is the only manager already`, {
      hint: 'it decides alone; more managers join with what "tsswarm join-token manager" prints',
    });
  }
  const deadline = clock.monotonic() + PATIENCE_MS;
  let ledAt = clock.monotonic();
  while (clock.monotonic() - ledAt < LOST_AFTER_MS) {
    const { leaderId } = backEnd.group.status();
    if (leaderId !== '') ledAt = clock.monotonic();
    if (clock.monotonic() > deadline) {
      throw new TsswarmError('IN_USE', `${action}: the managers have a quorum, and "${leaderId}" leads`, {
        hint: 'remove managers that are gone: tsswarm node rm --force',
      });
    }
    await sleep(clock, LOOK_EVERY_MS, signal);
  }
}
