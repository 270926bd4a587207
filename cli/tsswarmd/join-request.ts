import { existsSync, readFileSync, rmSync } from 'node:fs';
import type { Clock } from '../../base/clock.ts';
import type { TlsIdentity } from '../../proto/rpc/live-identity.ts';
import type { NodeDescription } from '../../proto/types/index.ts';
import { obtainIdentity } from '../../worker/identity/index.ts';
import type { IdentityDisk } from '../../worker/identity/index.ts';
import { joinRequestPath } from '../local-node/join-request.ts';
import type { JoinRequest } from '../local-node/join-request.ts';
import type { Place } from './cluster-place.ts';

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
  const identity = await obtainIdentity({
    address,
    token,
    clock,
    availability,
    advertiseAddress: place.advertiseAddr,
    description,
  });
  place.learn([address]);
  await disk.save(identity);
  rmSync(joinRequestPath(stateDir), { force: true });
  return identity;
}
