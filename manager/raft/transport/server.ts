import { TsswarmError } from '../../../base/errors.ts';
import type { ServiceHandlers } from '../../../proto/rpc/server.ts';
import type { raftService } from '../../../proto/rpc/services.ts';
import type { RaftMessage, Server, ServerId, Transport } from '../types.ts';
import { Link } from './client.ts';
import type { LinkOptions, QueueLimits } from './client.ts';

/** What a new version says and this one does not know is left out: Raft says important things again, in words both know. */
const KINDS: ReadonlySet<string> = new Set<RaftMessage['kind']>([
  'pre-vote',
  'pre-vote-answer',
  'vote',
  'vote-answer',
  'append',
  'append-answer',
  'heartbeat',
  'heartbeat-answer',
  'timeout-now',
  'install-snapshot',
  'install-snapshot-answer',
]);
/** These carry data, or answer it; everything else must not queue behind them. */
const BULK: ReadonlySet<RaftMessage['kind']> = new Set(['append', 'append-answer', 'install-snapshot']);

/** The core has at most 8 MiB (or one large entry) under way to a peer. */
const BULK_LIMITS: QueueLimits = { messages: 1024, bytes: 48 * 1024 * 1024 };
const URGENT_LIMITS: QueueLimits = { messages: 256, bytes: 1024 * 1024 };

export interface RaftTransport extends Transport {
  /** What is served to the other managers. */
  readonly handlers: ServiceHandlers<typeof raftService>;
}

export type RaftTransportOptions = LinkOptions;

interface Peer {
  readonly address: string;
  readonly urgent: Link;
  readonly bulk: Link;
}

/**
 * Carries Raft's messages by gRPC over mutual TLS: two connections to every peer, one for entries and snapshots, one for
 * everything that must not wait behind them.
 */
export function createRaftTransport(options: RaftTransportOptions): RaftTransport {
  const peers = new Map<ServerId, Peer>();
  const leaving = new Set<Promise<void>>();
  let listener: ((messages: readonly RaftMessage[]) => void) | undefined;
  let closed = false;

  const drop = (peer: Peer): void => {
    const end = Promise.all([peer.urgent.close(), peer.bulk.close()]).then(() => undefined);
    leaving.add(end);
    void end.finally(() => leaving.delete(end));
  };
  const peerAt = (to: Server): Peer => {
    const known = peers.get(to.id);
    if (known?.address === to.address) return known;
    if (known !== undefined) drop(known);
    const bulk = new Link(to, options, BULK_LIMITS, false, () => undefined);
    // A machine that is cut off is noticed on the urgent connection: the other one is then of no use either.
    const urgent = new Link(to, options, URGENT_LIMITS, true, () => bulk.renew());
    const peer = { address: to.address, urgent, bulk };
    peers.set(to.id, peer);
    return peer;
  };

  return {
    send(to, messages) {
      if (closed || to.address === '') return;
      const peer = peerAt(to);
      const bulk = messages.filter(({ kind }) => BULK.has(kind));
      if (bulk.length > 0) peer.bulk.send(bulk);
      if (bulk.length < messages.length) peer.urgent.send(messages.filter(({ kind }) => !BULK.has(kind)));
    },
    onMessages: (next) => void (listener = next),
    async close() {
      closed = true;
      listener = undefined;
      for (const peer of peers.values()) drop(peer);
      peers.clear();
      await Promise.all(leaving);
    },
    handlers: {
      async *messages(batches, signal, caller) {
        const nodeId = caller.kind === 'node' && caller.via === undefined ? caller.nodeId : '';
        yield {};
        for await (const { messages, acknowledge } of batches) {
          if (signal.aborted) return;
          for (const { from } of messages as readonly RaftMessage[]) {
            if (from === nodeId) continue;
            throw new TsswarmError(
              'PERMISSION_DENIED',
              `taking a message of "${from}": the certificate is that of "${nodeId}", a manager speaks only for itself`,
            );
          }
          listener?.((messages as readonly RaftMessage[]).filter(({ kind }) => KINDS.has(kind)));
          if (acknowledge) yield {};
        }
      },
      ping: () => Promise.resolve({ nodeId: options.identity.node.nodeId }),
    },
  };
}
