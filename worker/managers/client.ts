import { sleepAwake } from '../../base/awake.ts';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError, messageOf } from '../../base/errors.ts';
import { connect } from '../../proto/rpc/client.ts';
import type { Connection, ServiceClient } from '../../proto/rpc/client.ts';
import { saysAnotherLeads } from '../../proto/rpc/forward.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { dispatcherService } from '../../proto/rpc/services.ts';
import { nodeCredentials } from '../../proto/rpc/tls.ts';
import type { SessionRequest } from '../../proto/types/index.ts';

/** A manager that says nothing for so long, while this node could have heard it, is not waited for: another one is tried. */
const PATIENCE_MS = 3_000;
/** Its heartbeats tell a node earlier that a connection is dead, and not because it had no processor itself for a while. */
const DEAD_MS = 20_000;

export interface ManagersOptions {
  readonly identity: () => LiveIdentity;
  readonly clock: Clock;
  /** Where managers were reached last, "host:port". */
  readonly addresses: () => readonly string[];
  /** What the managers say of where they are. */
  readonly learn: (addresses: readonly string[]) => void;
  /** The dispatcher of this node, while it is a manager itself. */
  readonly local: () => ServiceClient<typeof dispatcherService> | undefined;
  /** Connects to an address; absent: by gRPC, with the node's certificate. */
  readonly connect?: (address: string) => Connection;
}

/** A node's way to the managers: one of them at a time, the next one when it fails. */
export interface Managers {
  /** For the agent; each session goes to whom it can reach. */
  readonly dispatcher: ServiceClient<typeof dispatcherService>;
  /** A connection to the manager of the moment. @throws UNAVAILABLE when none is known */
  connection(): Connection;
  /**
   * Calls `listener` when a session has begun, with the connection that it goes over; undefined: with the manager in this process.
   * Until the returned function is called.
   */
  onSession(listener: (link: Connection | undefined) => void): () => void;
  /** Why there is no session with a manager; empty: there is one, or was none yet. */
  problem(): string;
  /** The manager of the moment is of no use: the next one. */
  next(): void;
  close(): void;
}

/** Connects nowhere before it is used. */
export function createManagers(options: ManagersOptions): Managers {
  const { identity, clock, addresses, learn, local } = options;
  const reach =
    options.connect ?? ((address: string) => connect(address, nodeCredentials(identity()), { answerMs: DEAD_MS }));
  let open: { readonly address: string; readonly connection: Connection } | undefined;
  let turn = 0;
  let problem = '';
  const connection = (): Connection => {
    if (open !== undefined) return open.connection;
    const all = addresses();
    const address = all[turn % Math.max(1, all.length)];
    if (address === undefined)
      throw new TsswarmError('UNAVAILABLE', 'looking for a manager: this node knows of none', {
        hint: 'join anew: tsswarm leave --force, then tsswarm join',
      });
    open = { address, connection: reach(address) };
    return open.connection;
  };
  const next = (): void => {
    turn++;
    open?.connection.close();
    open = undefined;
  };
  const listeners = new Set<(link: Connection | undefined) => void>();
  /** The manager of the moment has said that another one leads now than the one it led to: it leads there, too. */
  let isEndedThere = false;
  const hear: (error: unknown) => never = (error) => {
    isEndedThere ||= saysAnotherLeads(error);
    throw error;
  };
  /** Whom the session of the moment is with. */
  let partner: ServiceClient<typeof dispatcherService> | undefined;
  const demand = (): ServiceClient<typeof dispatcherService> => {
    if (partner !== undefined) return partner;
    throw new TsswarmError('UNAVAILABLE', 'talking to a manager: there is no session');
  };

  async function* session(request: SessionRequest, outer?: AbortSignal) {
    const here = local();
    const link = here === undefined ? connection() : undefined;
    const mine = here ?? connection().service(dispatcherService);
    partner = mine;
    const scope = new AbortController();
    const signal = outer === undefined ? scope.signal : AbortSignal.any([outer, scope.signal]);
    const quiet = new AbortController();
    isEndedThere = false;
    let begun = false;
    void sleepAwake(clock, PATIENCE_MS, quiet.signal).then(
      () => scope.abort(new TsswarmError('DEADLINE_EXCEEDED', `opening a session: no answer within ${PATIENCE_MS} ms`)),
      () => undefined,
    );
    try {
      for await (const message of mine.session(request, signal)) {
        quiet.abort();
        if (!begun) for (const listener of [...listeners]) listener(link);
        begun = true;
        problem = '';
        if (message.managers.length > 0) learn(message.managers);
        yield message;
      }
    } catch (error) {
      problem = messageOf(error);
      hear(error);
    } finally {
      quiet.abort();
      if (partner === mine) partner = undefined;
      // A connection costs both ends a handshake: when the lead passes on, a thousand nodes would make one each, at the same moment.
      if (here === undefined && !(begun && isEndedThere)) next();
    }
  }
  return {
    dispatcher: {
      session,
      heartbeat: (request, signal) => demand().heartbeat(request, signal).catch(hear),
      async *assignments(request, signal) {
        try {
          yield* demand().assignments(request, signal);
        } catch (error) {
          hear(error);
        }
      },
      acknowledge: (request, signal) => demand().acknowledge(request, signal),
      updateTaskStatus: (request, signal) => demand().updateTaskStatus(request, signal),
    },
    connection,
    onSession(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    problem: () => problem,
    next,
    close() {
      open?.connection.close();
      open = undefined;
    },
  };
}
