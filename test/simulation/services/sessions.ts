import type { Dispatcher } from '../../../manager/dispatcher/server.ts';
import type { TaskStatusUpdate } from '../../../proto/types/index.ts';
import type { World } from '../world.ts';

type Handlers = Dispatcher['handlers'];

/**
 * A dispatcher that is listened to: what belongs to a session that another one of the node has followed must be refused.
 * @param onReport hears what nodes say of their tasks, before that is taken
 */
export function watched(
  handlers: Handlers,
  world: World,
  onReport: (updates: readonly TaskStatusUpdate[]) => void,
): Handlers {
  /** The newest session of each node that was told of, and the number of the call that began it. */
  const newest = new Map<string, { readonly id: string; readonly call: number }>();
  let calls = 0;
  const check = async <T>(
    what: string,
    request: Parameters<Handlers['heartbeat']>[0],
    answer: Promise<T>,
  ): Promise<T> => {
    const known = newest.get(request.nodeId);
    const isOver = known !== undefined && known.id !== request.sessionId;
    const told = await answer;
    if (isOver) world.fail(`services, dispatcher: a ${what} of ${request.nodeId} is taken in a session that is over`);
    return told;
  };
  return {
    ...handlers,
    async *session(request, gone) {
      const call = ++calls;
      for await (const message of handlers.session(request, gone)) {
        // One that was followed before it was told of is over already.
        if (call >= (newest.get(request.nodeId)?.call ?? 0))
          newest.set(request.nodeId, { id: message.sessionId, call });
        yield message;
      }
    },
    heartbeat: (request, gone) => check('heartbeat', request, handlers.heartbeat(request, gone)),
    updateTaskStatus(request, gone) {
      onReport(request.updates);
      return check('report', request, handlers.updateTaskStatus(request, gone));
    },
  };
}
