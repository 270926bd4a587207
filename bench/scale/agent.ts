import { backoffMs, sleep } from '../../base/async.ts';
import { systemClock } from '../../base/clock.ts';
import { isTsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { silentLogger } from '../../base/log.ts';
import { systemRandom } from '../../base/random.ts';
import { createLiveIdentity } from '../../proto/rpc/live-identity.ts';
import type { ServiceClient } from '../../proto/rpc/client.ts';
import type { dispatcherService } from '../../proto/rpc/services.ts';
import type { NodeDescription } from '../../proto/types/index.ts';
import { startAgent } from '../../worker/agent/index.ts';
import { obtainIdentity } from '../../worker/identity/client.ts';
import { createCertificateRequest } from '../../worker/identity/index.ts';
import { createManagers } from '../../worker/managers/client.ts';
import { fakeEngine } from './engine.ts';

/** A worker whose containers are made up: everything else of it is real. */
export interface VirtualAgent {
  readonly nodeId: NodeId;
  readonly running: ReadonlySet<string>;
  readonly inSession: boolean;
  readonly lost: number;
  /** It says nothing any more, and hears nothing; its connections stay open. */
  silence(): void;
}

/** Joins the cluster with a key of its own and starts to work. */
export async function joinAgent(index: number, token: string, managers: readonly string[]): Promise<VirtualAgent> {
  const description: NodeDescription = {
    hostname: `agent${index}`,
    platform: { os: 'linux', architecture: 'amd64' },
    resources: { nanoCpus: 16e9, memoryBytes: 64 * 2 ** 30 },
    engine: { version: '1', labels: {} },
  };
  const mine = managers.map((_, turn) => managers[(index + turn) % managers.length] ?? '');
  const identity = createLiveIdentity(await persistently(token, mine, description));
  const running = new Set<string>();
  let silent = false;
  let sessions = 0;
  let inSession = false;
  const way = createManagers({
    identity: () => identity,
    clock: systemClock,
    addresses: () => mine,
    learn: () => undefined,
    local: () => undefined,
  });
  const { dispatcher } = way;
  const never = <T>(): Promise<T> => new Promise<T>(() => undefined);
  const watched: ServiceClient<typeof dispatcherService> = {
    ...dispatcher,
    async *session(request, signal) {
      if (silent) await never();
      try {
        for await (const message of dispatcher.session(request, signal)) {
          if (!inSession) sessions++;
          inSession = true;
          yield message;
        }
      } finally {
        inSession = false;
      }
    },
    heartbeat: (request, signal) => (silent ? never() : dispatcher.heartbeat(request, signal)),
    async *assignments(request, signal) {
      for await (const change of dispatcher.assignments(request, signal)) {
        if (silent) await never();
        yield change;
      }
    },
    async updateTaskStatus(request, signal) {
      if (silent) await never();
      const answer = await dispatcher.updateTaskStatus(request, signal);
      for (const { taskId, status } of request.updates) {
        if (status.state === 'running') running.add(taskId);
        else running.delete(taskId);
      }
      return answer;
    },
  };
  startAgent({
    nodeId: identity.node.nodeId,
    describe: () => description,
    dispatcher: watched,
    engine: fakeEngine(systemClock),
    resolver: { changeNames: () => undefined, attach: () => Promise.resolve(), detach: () => Promise.resolve() },
    balancer: {
      setAddresses: () => undefined,
      settled: () => Promise.resolve(true),
      attach: () => Promise.resolve(),
      detach: () => undefined,
    },
    netnsPath: () => '',
    disk: { load: () => undefined, save: () => undefined },
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  });
  return {
    nodeId: identity.node.nodeId,
    running,
    get inSession() {
      return inSession;
    },
    get lost() {
      return Math.max(0, sessions - 1);
    },
    silence: () => void (silent = true),
  };
}

/** Joins as somebody does who tries again when a manager says that it cannot now. The same key is the same node. */
async function persistently(token: string, managers: readonly string[], description: NodeDescription) {
  const request = await createCertificateRequest();
  for (let tries = 0; ; tries++) {
    try {
      const address = managers[tries % managers.length] ?? '';
      const about = { clock: systemClock, availability: 'active', advertiseAddress: '', description } as const;
      return await obtainIdentity({ address, token, request, ...about });
    } catch (error) {
      const passes =
        isTsswarmError(error) && (error.retryable || error.code === 'NOT_LEADER' || error.code === 'OUTCOME_UNKNOWN');
      if (!passes || tries > 20) throw error;
      await sleep(systemClock, backoffMs(tries, 100, 2000));
    }
  }
}
