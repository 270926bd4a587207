import type { Clock } from '../../base/clock.ts';
import { TsswarmError, isTsswarmError, messageOf } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import type { LeadershipSource } from '../../manager/store/index.ts';
import { connect } from '../../proto/rpc/client.ts';
import { anotherLeads } from '../../proto/rpc/forward.ts';
import type { LeaderConnection } from '../../proto/rpc/forward.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { nodeCredentials } from '../../proto/rpc/tls.ts';

/** Longer than an election of Raft takes: a call that comes while nobody leads waits for its outcome. */
const PATIENCE_MS = 3_000;

const NOBODY_LEADS = 'no manager leads at the moment';
/** Whether an error says that nobody leads; also one from another manager, of which code and words come over the wire. */
export const saysNobodyLeads = (error: unknown): boolean =>
  isTsswarmError(error, 'UNAVAILABLE') && error.message.includes(NOBODY_LEADS);

export interface LeadershipOptions {
  readonly source: LeadershipSource;
  readonly clock: Clock;
  readonly identity: () => LiveIdentity;
  readonly logger: Logger;
  /** Does what a leader does until `signal` aborts. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
  /** Connects to another manager; absent: by gRPC, with the node's certificate. */
  readonly connect?: (address: string, id: NodeId) => LeaderConnection;
}

export interface Leadership {
  /**
   * A connection to the manager that leads; undefined: this one does.
   * @throws UNAVAILABLE when nobody is known to for a while
   */
  leader(signal: AbortSignal): Promise<LeaderConnection | undefined>;
  /** Aborts when this manager leads no more; undefined: it does not lead. */
  leading(): AbortSignal | undefined;
  close(): Promise<void>;
}

/** Follows who leads: runs the leader's loops here while that is this manager, else keeps a connection to whom it is. */
export function followLeadership(options: LeadershipOptions): Leadership {
  const { source, clock, identity, logger, lead } = options;
  const reach =
    options.connect ?? ((address: string, nodeId: NodeId) => connect(address, nodeCredentials(identity(), { nodeId })));
  let leading: { readonly life: AbortController; readonly done: Promise<void> } | undefined;
  let ending: Promise<void> = Promise.resolve();
  let leaderId = source.status().leaderId;
  let remote:
    | {
        readonly address: string;
        readonly id: string;
        readonly lost: AbortController;
        readonly connection: LeaderConnection;
      }
    | undefined;

  const begin = (): void => {
    if (leading !== undefined) return;
    const life = new AbortController();
    const before = ending;
    // Two sets of loops never run side by side, also when leadership comes back at once.
    const done = before
      .then(() => (life.signal.aborted ? undefined : lead(life.signal)))
      .catch((error: unknown) => logger.error('leading failed', { reason: messageOf(error) }));
    leading = { life, done };
  };
  const end = (): void => {
    if (leading === undefined) return;
    leading.life.abort(new TsswarmError('NOT_LEADER', 'this manager no longer leads'));
    ending = leading.done;
    leading = undefined;
  };
  const forget = (): void => {
    remote?.lost.abort(anotherLeads());
    remote?.connection.close();
    remote = undefined;
  };
  const waiting = new Set<() => void>();
  const stop = source.observe((event) => {
    for (const wake of waiting) wake();
    if (event.kind === 'role' && event.role !== 'leader') end();
    if (event.kind !== 'leader') return;
    leaderId = event.leaderId;
    if (event.isSelf) {
      forget();
      begin();
    } else {
      end();
      if (remote !== undefined && leaderId !== '' && remote.id !== leaderId) forget();
    }
  });
  if (source.status().ready) begin();

  /** Who leads, this manager as "self"; undefined: nobody knows. */
  const known = (): 'self' | { readonly id: string; readonly address: string } | undefined => {
    // One that was held up may not have heard yet that its time is over.
    if (leading !== undefined && source.stillLeads?.() !== false) return 'self';
    // Looked up when it is needed: a manager that has just joined hears of its leader before it hears where that is.
    const server = source.status().servers.find(({ id }) => id === leaderId);
    return server === undefined || server.address === '' ? undefined : server;
  };
  /** Resolves at the next event of Raft, and when time is up or nobody waits any more. */
  const nextEvent = (ms: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        waiting.delete(done);
        timer.cancel();
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = clock.startTimer(ms, done);
      signal.addEventListener('abort', done, { once: true });
      waiting.add(done);
    });

  return {
    async leader(signal) {
      // Where nobody can lead at the moment, waiting is of little use.
      const patience = source.trouble?.() === undefined ? (source.electionMs ?? PATIENCE_MS) : PATIENCE_MS;
      const deadline = clock.monotonic() + patience;
      let found = known();
      while (found === undefined && clock.monotonic() < deadline && !signal.aborted) {
        await nextEvent(deadline - clock.monotonic(), signal);
        found = known();
      }
      signal.throwIfAborted();
      if (found === undefined) {
        const trouble = source.trouble?.();
        const reason = trouble === undefined ? '' : `: ${trouble.reason}`;
        throw new TsswarmError('UNAVAILABLE', `asking the leader: ${NOBODY_LEADS}${reason}`, {
          hint:
            trouble?.hint ??
            'a majority of the managers must be up and reach one another, see "tsswarm status" on each; when they are lost for good: tsswarm init --force-new-cluster',
        });
      }
      if (found === 'self') return undefined;
      const { id, address } = found;
      if (remote?.address !== address || remote.id !== id) {
        forget();
        const lost = new AbortController();
        const connection = reach(address, id as NodeId);
        remote = { id, address, lost, connection: { ...connection, lost: lost.signal } };
      }
      return remote.connection;
    },
    leading: () => leading?.life.signal,
    async close() {
      stop();
      for (const wake of waiting) wake();
      end();
      await ending;
      forget();
    },
  };
}
