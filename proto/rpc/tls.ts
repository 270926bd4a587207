import { ChannelCredentials } from '@grpc/grpc-js';
import { X509Certificate } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect, createSecureContext } from 'node:tls';
import type { PeerCertificate, SecureContext, TLSSocket } from 'node:tls';
import { CLOCK_HINT, isoSeconds, spanWords } from '../../base/clock-skew.ts';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import type { ClusterId, NodeId } from '../../base/ids.ts';
import type { Caller, CertificateProblem } from './caller.ts';
import { identityOf } from './certificate.ts';
import type { LiveIdentity } from './live-identity.ts';

type SecureConnector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/**
 * TLS credentials of this house: like those of gRPC, but a certificate is held against the cluster and a role instead of
 * a host name, every new connection takes the newest identity, and `failure` keeps why the last handshake failed.
 */
export class TlsCredentials extends ChannelCredentials {
  /** Why the last handshake failed; undefined after one that went well. */
  failure: TsswarmError | undefined;
  /** Tells when new connections have to be made for a new certificate; absent: never. */
  readonly onReplace: LiveIdentity['onReplace'] | undefined;
  readonly #context: () => SecureContext;
  readonly #verify: ((certificate: X509Certificate) => void) | undefined;

  /** @param verify looks at the server's certificate, throws to refuse it; absent: any server is accepted, proved or not */
  constructor(
    context: () => SecureContext,
    verify?: (certificate: X509Certificate) => void,
    onReplace?: LiveIdentity['onReplace'],
  ) {
    super();
    this.onReplace = onReplace;
    this.#context = context;
    this.#verify = verify;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    ...[, , calls]: Parameters<ChannelCredentials['_createSecureConnector']>
  ): SecureConnector {
    return {
      connect: async (socket) => ({ socket: await this.secure(socket), secure: true }),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => calls ?? NO_CALL_CREDENTIALS,
      destroy: () => undefined,
    };
  }

  /**
   * Puts TLS onto a connection. `failure` says why it did not go well, where certificates were the reason.
   * @throws PERMISSION_DENIED, or what the socket says
   */
  secure(socket: Duplex): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const failed = (error: unknown): void => {
        const failure = handshakeFailure(error, shown);
        this.failure = failure;
        reject(failure ?? (error instanceof Error ? error : new Error(String(error))));
      };
      let shown: X509Certificate | undefined;
      const closed = (): void => failed(new Error('the connection was closed during the TLS handshake'));
      const tlsSocket = tlsConnect({
        socket,
        secureContext: this.#context(),
        // Names do not matter here, and an address is not allowed as one (RFC 6066).
        servername: '',
        ALPNProtocols: ['h2'],
        rejectUnauthorized: this.#verify !== undefined,
        checkServerIdentity: (_host, peer) => this.#check(peer),
      });
      // Once it is refused, it cannot be asked for any more.
      tlsSocket.prependOnceListener('secure', () => (shown = shownBy(tlsSocket)));
      tlsSocket.once('error', failed);
      tlsSocket.once('close', closed);
      tlsSocket.once('secureConnect', () => {
        tlsSocket.removeListener('error', failed);
        tlsSocket.removeListener('close', closed);
        this.failure = undefined;
        resolve(tlsSocket);
      });
    });
  }

  #check(peer: PeerCertificate): Error | undefined {
    try {
      this.#verify?.(new X509Certificate(peer.raw));
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }
}

/** The credentials for calls that bring none of their own. */
const NO_CALL_CREDENTIALS = ChannelCredentials.createInsecure()
  ._createSecureConnector({ path: '' }, {})
  .getCallCredentials();

/** Which server is wanted. */
export interface ServerExpectation {
  /** Absent: a manager. `any`: every node of the cluster, as for images and for containers on workers. */
  readonly role?: 'manager' | 'any';
  /** Exactly this node, as between Raft members. */
  readonly nodeId?: NodeId;
}

/** For a node that has an identity: mutual TLS to a server of the same cluster. */
export function nodeCredentials(identity: LiveIdentity, expected: ServerExpectation = {}): TlsCredentials {
  return new TlsCredentials(
    () => identity.secureContext,
    (certificate) => verifyServer(certificate, identity.node.clusterId, expected),
    identity.onReplace,
  );
}

/** For a node that joins and has found the root that its token names: a manager under that root, no own certificate. */
export function joiningCredentials(rootsPem: string): TlsCredentials {
  const context = createSecureContext({ ca: rootsPem, minVersion: 'TLSv1.3' });
  return new TlsCredentials(
    () => context,
    (certificate) => verifyServer(certificate, undefined, {}),
  );
}

/** For the first question of a node that joins: whoever answers. Nothing that comes this way may be believed unchecked. */
export function unverifiedCredentials(): TlsCredentials {
  const context = createSecureContext({ minVersion: 'TLSv1.3' });
  return new TlsCredentials(() => context);
}

function verifyServer(
  certificate: X509Certificate,
  clusterId: ClusterId | undefined,
  { role = 'manager', nodeId }: ServerExpectation,
): void {
  const server = identityOf(certificate);
  const refuse = (reason: string): never => {
    throw new TsswarmError('PERMISSION_DENIED', `verifying the server "${server.nodeId}": ${reason}`);
  };
  if (clusterId !== undefined && server.clusterId !== clusterId)
    refuse(`it belongs to the cluster "${server.clusterId}", expected "${clusterId}"`);
  if (role === 'manager' && server.role !== 'manager') refuse(`it is a ${server.role}, expected a manager`);
  if (nodeId !== undefined && server.nodeId !== nodeId) refuse(`another node answers, expected "${nodeId}"`);
}

/** What OpenSSL says of a server's certificate, in words that help; undefined: it was not about certificates. */
function handshakeFailure(error: unknown, shown: X509Certificate | undefined): TsswarmError | undefined {
  if (isTsswarmError(error)) return error;
  const refused = (reason: string, hint: string): TsswarmError =>
    new TsswarmError('PERMISSION_DENIED', `verifying the server: ${reason}`, { hint, cause: error });
  switch ((error as { readonly code?: unknown }).code) {
    case 'CERT_NOT_YET_VALID':
      return refused(`its certificate ${outOfTime(shown, Date.now(), 'this machine')}`, CLOCK_HINT);
    case 'CERT_HAS_EXPIRED':
      return refused(`its certificate ${outOfTime(shown, Date.now(), 'this machine')}`, CLOCK_HINT);
    case 'UNABLE_TO_GET_ISSUER_CERT':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'CERT_SIGNATURE_FAILURE':
    case 'INVALID_PURPOSE':
      return refused(
        'its certificate was not issued by this cluster',
        'check the address: another cluster, or another program, answers there',
      );
    default:
      return undefined;
  }
}

/** The certificate of a peer that is not verified yet. */
function shownBy(socket: TLSSocket): X509Certificate | undefined {
  const { raw } = socket.getPeerCertificate(true) as Partial<PeerCertificate>;
  return raw === undefined ? undefined : new X509Certificate(raw);
}

/** Says by how much a certificate is not valid, and whose clock says so. */
function outOfTime(certificate: X509Certificate | undefined, now: number, whose: string): string {
  if (certificate === undefined) return `is not valid by the clock of ${whose}`;
  const [from, to] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
  return now < from
    ? `is valid from ${isoSeconds(from)} on, and the clock of ${whose} says ${isoSeconds(now)}: ${spanWords(from - now)} too early`
    : `has expired at ${isoSeconds(to)}, and the clock of ${whose} says ${isoSeconds(now)}: ${spanWords(now - to)} too late`;
}

/**
 * Who stands at the other end of a connection to us, once the handshake is through.
 * @param clusterId ours
 */
export function callerOf(socket: TLSSocket, clusterId: ClusterId): ConnectionCaller {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return { caller: { kind: 'anonymous' }, issuedAt: 0, expiresAt: Infinity };
  const anonymous = (why: CertificateProblem): ConnectionCaller => ({
    caller: { kind: 'anonymous', why },
    issuedAt: 0,
    expiresAt: Infinity,
  });
  if (!socket.authorized) return anonymous(clientProblem(certificate, String(socket.authorizationError)));
  try {
    const { nodeId, role, clusterId: theirs } = identityOf(certificate);
    if (theirs !== clusterId) return anonymous(FOREIGN);
    const { validFromDate, validToDate } = certificate;
    const caller: Caller = { kind: 'node', nodeId, role };
    return { caller, issuedAt: validFromDate.getTime(), expiresAt: validToDate.getTime(), certificate };
  } catch {
    return anonymous(FOREIGN);
  }
}

/** The caller of a connection, and from when until when its certificate holds (wall time, ms). */
export interface ConnectionCaller {
  readonly caller: Caller;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Of a node. */
  readonly certificate?: X509Certificate;
}

const FOREIGN: CertificateProblem = {
  reason: 'the certificate was not issued by this cluster',
  hint: 'leave the other cluster first: tsswarm leave, then tsswarm join',
};

/** Said of a certificate whose root is trusted no more, on a connection that was made while it was. */
export const ROTATED_OUT: CertificateProblem = {
  reason: 'the root that issued the certificate was rotated out',
  hint: 'a node that was away during the rotation joins anew: tsswarm leave --force, then tsswarm join',
};

/** Said of a certificate whose time has passed, also in the middle of a connection. */
export function expired(expiresAt: number): CertificateProblem {
  return {
    reason: `the certificate has expired at ${new Date(expiresAt).toISOString()}`,
    hint: 'if the clocks of both machines are right: tsswarm leave --force, then tsswarm join with a new token',
  };
}

function clientProblem(certificate: X509Certificate, code: string): CertificateProblem {
  if (code === 'CERT_HAS_EXPIRED') return expired(certificate.validToDate.getTime());
  if (code === 'CERT_NOT_YET_VALID') {
    return {
      reason: `the certificate ${outOfTime(certificate, Date.now(), 'the manager')}`,
      hint: CLOCK_HINT,
    };
  }
  return FOREIGN;
}
