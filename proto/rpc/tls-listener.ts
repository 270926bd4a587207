import { createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import type { AddressInfo } from 'node:net';
import type { Clock, Timer } from '../../base/clock.ts';
import { TsswarmError, errnoOf, messageOf } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Caller } from './caller.ts';
import type { LiveIdentity } from './live-identity.ts';
import { contextOptions } from './live-identity.ts';
import { isIssuedBy } from './certificate.ts';
import { ROTATED_OUT, callerOf, expired } from './tls.ts';
import type { ConnectionCaller } from './tls.ts';

/** How long a handshake may take, ms: whoever is slower only holds a socket open. */
const HANDSHAKE_MS = 10_000;
/** Connections without a certificate at a time: whoever opens more keeps no node out. */
const MAX_STRANGERS = 1024;
/** Streams are held against the time of their certificates when the first ends, and every hour, as the wall clock may be set. */
const EXPIRY_CHECK_MS = 3600_000;

export interface TlsOptions {
  readonly identity: LiveIdentity;
  readonly clock: Pick<Clock, 'now' | 'startTimer'>;
  /** Whether the node was removed from the cluster: it is refused although its certificate holds. */
  readonly isRemoved: (nodeId: NodeId) => boolean;
  /** Whether a manager's certificate that began at `issuedAt` (wall time, ms) was followed by a worker's. */
  readonly isDemoted: (nodeId: NodeId, issuedAt: number) => boolean;
  /** Calls `listener` whenever `isRemoved` or `isDemoted` may say another thing, until the returned function is called. */
  readonly onChange: (listener: () => void) => () => void;
}

/** What becomes of a connection whose handshake is through: nodes and strangers are served apart. */
export interface ConnectionSink {
  readonly node: (socket: TLSSocket) => void;
  readonly stranger: (socket: TLSSocket) => void;
  /** `callerAt` may answer another thing from now on for connections that stand. */
  readonly changed: () => void;
}

export interface TlsListener {
  /** Listens; answers with the port. @throws PORT_IN_USE, INVALID_INPUT */
  listen(host: string, port: number): Promise<number>;
  /** Who calls, by the name of the connection, which gRPC takes for its other end (`getPeer`). */
  callerAt(peer: string): Caller;
  close(): void;
}

/** A TLS 1.3 port that asks everybody for a certificate and knows of every connection whose it is. */
export function createTlsListener(
  { identity, clock, isRemoved, isDemoted, onChange }: TlsOptions,
  sink: ConnectionSink,
): TlsListener {
  const connections = new Map<string, ConnectionCaller>();
  const server = createServer({
    ...contextOptions(identity.current),
    ALPNProtocols: ['h2'],
    requestCert: true,
    // A bad certificate is refused call by call, with its reason: a failed handshake could not say it.
    rejectUnauthorized: false,
    handshakeTimeout: HANDSHAKE_MS,
  });
  let { roots } = identity.current;
  const stopFollowing = identity.onReplace(() => {
    server.setSecureContext(contextOptions(identity.current));
    if (roots === identity.current.roots) return;
    ({ roots } = identity.current);
    // Nodes make their calls on new connections by now. Whoever still uses one of an old root may be who it was rotated for.
    for (const [peer, { certificate }] of connections) {
      if (certificate === undefined || isIssuedBy(certificate, roots)) continue;
      connections.set(peer, { caller: { kind: 'anonymous', why: ROTATED_OUT }, issuedAt: 0, expiresAt: Infinity });
    }
    sink.changed();
  });
  const stopListening = onChange(sink.changed);
  let timer: Timer | undefined;
  let due = Infinity;
  const checkAt = (expiresAt: number): void => {
    const now = clock.now();
    const at = Math.min(expiresAt, now + EXPIRY_CHECK_MS);
    if (at >= due) return;
    due = at;
    timer?.cancel();
    timer = clock.startTimer(Math.max(0, at - now), () => {
      due = Infinity;
      sink.changed();
      const later = [...connections.values()].map((one) => one.expiresAt).filter((end) => end > clock.now());
      if (later.length > 0) checkAt(Math.min(...later));
    });
  };
  const sockets = new Set<TLSSocket>();
  let strangers = 0;
  let count = 0;
  server.on('secureConnection', (socket) => {
    const connection = callerOf(socket, identity.node.clusterId);
    socket.on('error', () => undefined);
    if (socket.remoteAddress === undefined || socket.alpnProtocol !== 'h2') return void socket.destroy();
    const stranger = connection.caller.kind !== 'node';
    if (stranger && strangers >= MAX_STRANGERS) return void socket.destroy();
    if (stranger) strangers++;
    // gRPC tells a call's other end by address and port only. Two connections to different addresses of ours can share
    // both, and one must never be taken for the other: each gets a name that is unique.
    const peer = nameConnection(socket, ++count);
    connections.set(peer, connection);
    if (!stranger) checkAt(connection.expiresAt);
    sockets.add(socket);
    socket.once('close', () => {
      sockets.delete(socket);
      if (stranger) strangers--;
      connections.delete(peer);
    });
    if (stranger) sink.stranger(socket);
    else sink.node(socket);
  });
  // A port scanner, or a client of another kind: nothing of ours.
  server.on('tlsClientError', () => undefined);

  return {
    listen: (host, port) =>
      new Promise((resolve, reject) => {
        server.once('error', (error) => reject(bindFailure(error, host, port)));
        server.listen(port, host, () => {
          server.removeAllListeners('error');
          server.on('error', () => undefined);
          resolve((server.address() as AddressInfo).port);
        });
      }),
    callerAt(peer) {
      const connection = connections.get(peer);
      if (connection === undefined) return { kind: 'anonymous' };
      const { caller, issuedAt, expiresAt } = connection;
      if (caller.kind !== 'node') return caller;
      if (clock.now() >= expiresAt) return { kind: 'anonymous', why: expired(expiresAt) };
      if (!isRemoved(caller.nodeId)) {
        // Its old certificate outlives the demotion: it is worth no more than a worker's.
        return caller.role === 'manager' && isDemoted(caller.nodeId, issuedAt) ? { ...caller, role: 'worker' } : caller;
      }
      const reason = `the node "${caller.nodeId}" was removed from the cluster`;
      return {
        kind: 'anonymous',
        why: { reason, hint: 'to bring it back: tsswarm leave --force, then tsswarm join with a token' },
      };
    },
    close() {
      stopFollowing();
      stopListening();
      timer?.cancel();
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Makes gRPC's `getPeer` answer with a name of our own. */
function nameConnection(socket: TLSSocket, number: number): string {
  const remoteAddress = `${socket.remoteAddress}#${number}`;
  Object.defineProperty(socket, 'remoteAddress', { value: remoteAddress });
  return `${remoteAddress}:${socket.remotePort}`;
}

function bindFailure(error: Error, host: string, port: number): TsswarmError {
  const action = `listening on "${host}:${port}"`;
  switch (errnoOf(error)) {
    case 'EADDRINUSE':
      return new TsswarmError('PORT_IN_USE', `${action}: another process holds the port`, {
        cause: error,
        hint: 'choose another one: --listen-addr',
      });
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return new TsswarmError('INVALID_INPUT', `${action}: this machine has no such address`, {
        cause: error,
        hint: 'see "ip address"; 0.0.0.0 is all of them',
      });
    default:
      return new TsswarmError('INVALID_INPUT', `${action}: ${messageOf(error)}`, { cause: error });
  }
}
