import { existsSync, readFileSync, rmSync } from 'node:fs';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { connect } from '../../proto/rpc/client.ts';
import type { LiveIdentity, TlsIdentity } from '../../proto/rpc/live-identity.ts';
import { membershipService } from '../../proto/rpc/services.ts';
import { nodeCredentials } from '../../proto/rpc/tls.ts';
import type { NodeDescription } from '../../proto/types/index.ts';
import { createCertificateRequest, obtainIdentity } from '../../worker/identity/index.ts';
import type { IdentityDisk } from '../../worker/identity/index.ts';
import { joinRequestPath } from '../local-node/join-request.ts';
import type { JoinRequest } from '../local-node/join-request.ts';
import type { Place } from './cluster-place.ts';
import { whileLeaderless } from './while-leaderless.ts';

/**
 * Does what a request asks for; undefined when there is none. The identity and the way to the managers are on disk when it
 * resolves, and the request is gone.
 * @throws what obtainIdentity throws
 */
export async function joinAsRequested(
  stateDir: string,
  place: Place,
  description: NodeDescription,
  disk: IdentityDisk,
  clock: Clock,
): Promise<TlsIdentity | undefined> {
  if (!existsSync(joinRequestPath(stateDir))) return undefined;
  const { address, token, availability } = JSON.parse(readFileSync(joinRequestPath(stateDir), 'utf8')) as JoinRequest;
  // The same key is the same node, however often it asks.
  const request = await createCertificateRequest();
  const advertiseAddress = place.advertiseAddr;
  const join = { address, token, clock, availability, advertiseAddress, description, request };
  const identity = await whileLeaderless(clock, () => obtainIdentity(join));
  place.learn([address]);
  await disk.save(identity);
  rmSync(joinRequestPath(stateDir), { force: true });
  return identity;
}

/** How long a manager may take to forget a node. */
const FORGET_MS = 5_000;

/** Has a node forgotten that got its identity and could not become what it is to be. Says nothing when that fails too. */
export async function takeBackJoin(identity: LiveIdentity, managers: readonly string[], logger: Logger): Promise<void> {
  for (const address of managers) {
    const connection = connect(address, nodeCredentials(identity));
    try {
      const request = { nodeId: identity.node.nodeId, force: true };
      return void (await connection.service(membershipService).leave(request, AbortSignal.timeout(FORGET_MS)));
    } catch (error) {
      logger.warn('the join is not taken back', { manager: address, reason: messageOf(error) });
    } finally {
      connection.close();
    }
  }
}
