import { isTsswarmError } from '../../base/errors.ts';
import { caService } from '../../proto/rpc/services.ts';
import type { CaClient } from '../../worker/identity/client.ts';
import type { Managers } from '../../worker/managers/client.ts';

/**
 * The CA for a node that is a manager: its own, which passes calls on to the leader. A manager that was demoted is taken out of
 * the group, and may never hear who leads from then on, before it has the certificate that says so: then another manager's.
 * @param others the node's way to the managers
 */
export function managersCa(own: CaClient, others: Pick<Managers, 'connection' | 'next'>): CaClient {
  /** @throws `failure` where no other manager is known, or when it was about something else */
  const elsewhere = (failure: unknown): CaClient => {
    if (!isTsswarmError(failure, 'UNAVAILABLE') && !isTsswarmError(failure, 'NOT_LEADER')) throw failure;
    return others.connection().service(caService);
  };
  return {
    async issueCertificate(request, signal) {
      try {
        return await own.issueCertificate(request, signal);
      } catch (failure) {
        signal?.throwIfAborted();
        const other = elsewhere(failure);
        try {
          return await other.issueCertificate(request, signal);
        } catch (error) {
          // One of them is this manager itself, and others may be gone: the next one at the next attempt.
          others.next();
          throw error;
        }
      }
    },
    async *watchIdentity(request, signal) {
      try {
        yield* own.watchIdentity(request, signal);
      } catch (failure) {
        signal?.throwIfAborted();
        const other = elsewhere(failure);
        try {
          yield* other.watchIdentity(request, signal);
        } catch (error) {
          others.next();
          throw error;
        }
      }
    },
  };
}
