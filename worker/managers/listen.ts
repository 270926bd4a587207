import { backoffMs, sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import { jitter } from '../../base/random.ts';
import type { Random } from '../../base/random.ts';
import { answerCall } from '../../proto/rpc/relay/answer.ts';
import type { AnsweredMethods } from '../../proto/rpc/relay/answer.ts';
import type { Connection } from '../../proto/rpc/client.ts';
import { relayService } from '../../proto/rpc/services.ts';
import type { Managers } from './client.ts';

const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 5_000;

export interface ListenOptions {
  readonly nodeId: NodeId;
  readonly managers: Pick<Managers, 'onSession'>;
  readonly methods: AnsweredMethods;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/**
 * Listens for calls at the manager that the node has its session with, and answers them. It moves along with the session; calls
 * under way end where they began. A node that is a manager itself is called at its port instead.
 * @returns the function that ends all
 */
export function listenForCalls({ nodeId, managers, methods, clock, random, logger }: ListenOptions): () => void {
  const life = new AbortController();
  let turn = new AbortController();

  const listen = async (link: Connection, signal: AbortSignal): Promise<void> => {
    const relay = link.service(relayService);
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        for await (const call of relay.listen({ nodeId }, signal)) {
          failures = 0;
          if (call.callId !== '') void answerCall(relay, nodeId, call, methods, life.signal);
        }
      } catch (error) {
        if (signal.aborted) return;
        logger.debug('calls of managers are not heard', { reason: messageOf(error) });
      }
      const delay = jitter(random, backoffMs(failures, FIRST_RETRY_MS, LONGEST_RETRY_MS), 0.2);
      await sleep(clock, delay, signal).catch(() => undefined);
    }
  };
  const stop = managers.onSession((link) => {
    turn.abort(new Error('the session is with another manager'));
    turn = new AbortController();
    if (link !== undefined) void listen(link, AbortSignal.any([life.signal, turn.signal]));
  });
  return () => {
    stop();
    life.abort(new Error('the node stops'));
  };
}
