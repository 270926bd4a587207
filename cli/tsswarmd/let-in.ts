import { sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { connect } from '../../proto/rpc/client.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { membershipService, raftService } from '../../proto/rpc/services.ts';
import { nodeCredentials } from '../../proto/rpc/tls.ts';
import type { BackEnd } from './back-ends/back-end.ts';

/** How long a manager that is called back may take, and how long a new one may take to get the state. */
const REACH_MS = 5_000;
const CATCH_UP_MS = 60_000;

/** Calls a manager back. */
export async function reach(identity: LiveIdentity, clock: Clock, address: string, nodeId: NodeId, outer: AbortSignal) {
  const patience = new AbortController();
  const late = new TsswarmError('DEADLINE_EXCEEDED', `no answer within ${REACH_MS} ms`);
  void sleep(clock, REACH_MS, patience.signal).then(
    () => scope.abort(late),
    () => undefined,
  );
  const scope = new AbortController();
  const connection = connect(address, nodeCredentials(identity, { nodeId }));
  try {
    await connection.service(raftService).ping({}, AbortSignal.any([outer, scope.signal]));
  } finally {
    patience.abort();
    connection.close();
  }
}

/** Asks one manager after the other to be let in. @throws the last refusal */
export async function letIn(
  identity: LiveIdentity,
  managers: readonly string[],
  address: string,
  nodeId: NodeId,
  signal: AbortSignal,
): Promise<readonly string[]> {
  let failure: unknown = new TsswarmError('UNAVAILABLE', 'joining the managers: the node knows of none');
  for (const manager of managers.filter((other) => other !== address)) {
    const connection = connect(manager, nodeCredentials(identity));
    try {
      return (await connection.service(membershipService).join({ nodeId, address }, signal)).managers;
    } catch (error) {
      failure = error;
    } finally {
      connection.close();
    }
  }
  throw failure;
}

/** Resolves when the state of the cluster is here. */
export async function caughtUp({ store, leadership }: BackEnd, clock: Clock, nodeId: NodeId): Promise<void> {
  const deadline = clock.monotonic() + CATCH_UP_MS;
  const isThere = (): boolean =>
    store.view((tx) => tx.get('node', nodeId)) !== undefined && leadership.status().leaderId !== '';
  while (!isThere()) {
    if (clock.monotonic() > deadline)
      throw new TsswarmError('DEADLINE_EXCEEDED', 'joining the managers: the state of the cluster does not arrive', {
        hint: 'check that all managers can reach the advertised address of this one',
      });
    await sleep(clock, 20);
  }
}
