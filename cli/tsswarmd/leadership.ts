import { TsswarmError, messageOf } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Logger } from '../../base/log.ts';
import type { LeadershipSource } from '../../manager/store/index.ts';
import { connect } from '../../proto/rpc/client.ts';
import type { Connection } from '../../proto/rpc/client.ts';
import type { LiveIdentity } from '../../proto/rpc/live-identity.ts';
import { nodeCredentials } from '../../proto/rpc/tls.ts';

export interface LeadershipOptions {
  readonly source: LeadershipSource;
  readonly identity: () => LiveIdentity;
  readonly logger: Logger;
  /** Does what a leader does until `signal` aborts. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
}

export interface Leadership {
  /**
   * A connection to the manager that leads; undefined: this one does.
   * @throws UNAVAILABLE while nobody is known to
   */
  leader(): Connection | undefined;
  close(): Promise<void>;
}

/** Follows who leads: runs the leader's loops here while that is this manager, else keeps a connection to whom it is. */
export function followLeadership({ source, identity, logger, lead }: LeadershipOptions): Leadership {
  let leading: { readonly life: AbortController; readonly done: Promise<void> } | undefined;
  let ending: Promise<void> = Promise.resolve();
  let known: { readonly id: string; readonly address: string } | undefined;
  let remote: { readonly address: string; readonly id: string; readonly connection: Connection } | undefined;

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
    remote?.connection.close();
    remote = undefined;
  };
  const stop = source.observe((event) => {
    if (event.kind === 'role' && event.role !== 'leader') end();
    if (event.kind !== 'leader') return;
    known = event.leaderId === '' ? undefined : { id: event.leaderId, address: event.address };
    if (event.isSelf) {
      forget();
      begin();
    } else {
      end();
      if (remote !== undefined && known !== undefined && remote.id !== known.id) forget();
    }
  });
  const { ready, leaderId, servers } = source.status();
  if (ready) begin();
  else if (leaderId !== '') known = servers.find(({ id }) => id === leaderId);

  return {
    leader() {
      if (leading !== undefined) return undefined;
      if (known === undefined || known.address === '') {
        throw new TsswarmError('UNAVAILABLE', 'asking the leader: no manager leads at the moment', {
          hint: 'a majority of the managers must be up and reach one another; see "tsswarm status" on each',
        });
      }
      const { id, address } = known;
      if (remote?.address !== address || remote.id !== id) {
        forget();
        remote = { id, address, connection: connect(address, nodeCredentials(identity(), { nodeId: id as NodeId })) };
      }
      return remote.connection;
    },
    async close() {
      stop();
      end();
      await ending;
      forget();
    },
  };
}
