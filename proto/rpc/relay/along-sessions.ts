import type { NodeId } from '../../../base/ids.ts';
import { saysAnotherLeads } from '../forward.ts';
import type { ServiceHandlers } from '../server.ts';
import type { dispatcherService } from '../services.ts';
import type { RelayHub } from './hub.ts';

type Sessions = ServiceHandlers<typeof dispatcherService>;

/**
 * The dispatcher's handlers, of which the hub is told where nodes are no more. A node listens at the manager that its session goes to; a
 * link that was cut leaves its line standing there, open and deaf, for as long as the connection is not known to be dead, and whoever
 * looked for the node was sent to it although the node had long been listening at another manager. That its session is over, or goes
 * through another manager now, is known much earlier.
 * @param handlers that answer here, or pass on to the leader
 */
export function alongSessions(handlers: Sessions, hub: Pick<RelayHub, 'forget'>): Sessions {
  /** The session of each node that began here last. */
  const latest = new Map<string, object>();
  return {
    ...handlers,
    async *session(request, signal, caller) {
      const { nodeId } = request;
      if (caller.via !== undefined) {
        for await (const message of handlers.session(request, signal, caller)) {
          // It is heard, and through somebody else.
          hub.forget(nodeId as NodeId);
          yield message;
        }
        return;
      }
      const session = {};
      latest.set(nodeId, session);
      let stays = false;
      try {
        yield* handlers.session(request, signal, caller);
      } catch (error) {
        // The node stays with this manager, and asks it for another session.
        stays = saysAnotherLeads(error);
        throw error;
      } finally {
        if (latest.get(nodeId) === session) {
          latest.delete(nodeId);
          if (!stays) hub.forget(nodeId as NodeId);
        }
      }
    },
  };
}
