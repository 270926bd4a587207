import { Semaphore, deferred } from '../../base/async.ts';
import { CLOCK_HINT, clockSkew } from '../../base/clock-skew.ts';
import { TsswarmError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type { Caller } from '../../proto/rpc/caller.ts';
import type { ServiceClient } from '../../proto/rpc/client.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import type { caService } from '../../proto/rpc/services.ts';
import type {
  Cluster,
  IdentityNotice,
  IssueCertificateRequest,
  IssueCertificateResponse,
  Node,
  NodeCertificate,
  WatchIdentityRequest,
} from '../../proto/types/index.ts';
import type { ReadTransaction, Store, WriteTransaction } from '../store/types.ts';
import { clusterOf } from './cluster.ts';
import { issuerDigest, readRequest, trustedRoots } from './issue.ts';
import type { CheckedRequest, IssuedCertificate } from './issue.ts';
import { issue } from './issuer.ts';
import type { IssuerOptions } from './issuer.ts';
import { NoticeFeed } from './notices.ts';
import { roleOfToken } from './tokens.ts';
import { Usages } from './usages.ts';

/** When a root is rotated all nodes want a certificate at once; the leader has other work too. */
const SIGNED_AT_A_TIME = 4;

export interface CaOptions extends IssuerOptions {
  readonly store: Store;
  readonly random: Random;
}

/** Makes the handlers of the CA service. They write: on a manager that does not lead, calls are passed on instead. */
export function createCa(options: CaOptions): ServiceHandlers<typeof caService> {
  const { store, clock } = options;
  const feed = new NoticeFeed(store);
  const usages = new Usages(store, member);
  const signing = new Semaphore(SIGNED_AT_A_TIME);
  return {
    getRootCertificate: () => {
      const cluster = store.view(clusterOf);
      const { formerRoots = [] } = cluster;
      return Promise.resolve({ roots: trustedRoots(cluster), wallTime: clock.now(), formerRoots });
    },
    async issueCertificate(request, signal, caller) {
      checkClock(request.wallTime, clock.now());
      if (request.token === '' && caller.kind !== 'node') throw refusal(caller);
      // Before anything that costs: strangers can send what they like.
      if (request.token !== '') roleOfToken(store.view(clusterOf), request.token);
      return signing.use(() => {
        signal.throwIfAborted();
        if (request.token !== '' || caller.kind !== 'node') return join(options, request, signal);
        return renewCertificate(options, caller.nodeId, request.csr, signal);
      });
    },
    watchIdentity: (request, signal) => watchIdentity(store, feed, usages, request, signal),
  };
}

/**
 * A new certificate for a node of the store, with the role that the store says. A manager calls it for itself at
 * `tsswarm init`; everybody else through the service.
 * @param csr PKCS #10 in PEM
 * @throws PERMISSION_DENIED for a node that is no member; INVALID_INPUT
 */
export async function renewCertificate(
  options: Omit<CaOptions, 'random'>,
  nodeId: NodeId,
  csr: string,
  signal?: AbortSignal,
): Promise<IssueCertificateResponse> {
  const { store } = options;
  const request = await (options.mint?.readRequest ?? readRequest)(csr);
  const { cluster, node } = store.view((tx) => ({ cluster: clusterOf(tx), node: member(tx, nodeId) }));
  const { role } = node.spec;
  const issued = await issue(options, cluster, csr, request, { nodeId, role }, signal);
  await store.update((tx) => {
    const now = member(tx, nodeId);
    // The role may have changed while it was signed: what is handed out must be what the store says.
    if (now.spec.role !== role)
      throw new TsswarmError('CONFLICT', `renewing the certificate of "${nodeId}": its role has just changed`);
    tx.update('node', { ...now, certificate: certificateOf(now, request, role, issued) });
  });
  return { nodeId, role, certificate: issued.certificate, roots: trustedRoots(cluster) };
}

/** A node that brings a token becomes a member; the same key again is the same node again. */
async function join(
  options: CaOptions,
  { csr, token, availability, address, description }: IssueCertificateRequest,
  signal: AbortSignal,
): Promise<IssueCertificateResponse> {
  const { store, clock, random } = options;
  const request = await (options.mint?.readRequest ?? readRequest)(csr);
  if (description === undefined)
    throw new TsswarmError('INVALID_INPUT', 'joining the cluster: the node does not describe itself');
  if (!['active', 'pause', 'drain'].includes(availability))
    throw new TsswarmError(
      'INVALID_INPUT',
      `joining the cluster: the availability "${availability}" is none, expected active, pause or drain`,
    );
  const { cluster, known } = store.view((tx) => ({
    cluster: clusterOf(tx),
    known: tx.list('node').find(({ certificate }) => certificate?.keyDigest === request.keyDigest),
  }));
  const role = roleOfToken(cluster, token);
  if (known !== undefined && known.spec.role !== role) {
    throw new TsswarmError(
      'CONFLICT',
      `joining the cluster: the node "${known.id}" has joined as a ${known.spec.role}, and the token is that of a ${role}`,
      { hint: `change its role on a manager: tsswarm node ${role === 'manager' ? 'promote' : 'demote'} ${known.id}` },
    );
  }
  const nodeId = known?.id ?? newId<NodeId>(random);
  const issued = await issue(options, cluster, csr, request, { nodeId, role }, signal);
  await store.update((tx: WriteTransaction) => {
    // It may have been rotated while the certificate was signed.
    roleOfToken(clusterOf(tx), token);
    const now = known === undefined ? undefined : member(tx, nodeId);
    const certificate = certificateOf(now, request, role, issued);
    if (now !== undefined) return tx.update('node', { ...now, certificate });
    const at = clock.now();
    tx.create('node', {
      id: nodeId,
      meta: { version: 0, createdAt: at, updatedAt: at },
      spec: { role, availability, labels: {} },
      description,
      status: { state: 'unknown', message: 'joined, not heard of yet', address },
      certificate,
    });
  });
  return { nodeId, role, certificate: issued.certificate, roots: trustedRoots(cluster) };
}

function certificateOf(
  node: Node | undefined,
  { keyDigest }: CheckedRequest,
  role: Node['spec']['role'],
  { issuedAt, expiresAt }: IssuedCertificate,
): NodeCertificate {
  const { usedIssuer = '', trustedRoots: roots = [] } = node?.certificate ?? {};
  return { role, keyDigest, issuedAt, expiresAt, usedIssuer, trustedRoots: roots };
}

/** Notes what the node uses, then says what it should use, at once and after every change, until the node is gone. */
async function* watchIdentity(
  store: Store,
  feed: NoticeFeed,
  usages: Usages,
  request: WatchIdentityRequest,
  signal: AbortSignal,
): AsyncGenerator<IdentityNotice> {
  const { nodeId } = request;
  const leave = usages.begin(request);
  try {
    await usages.record(request);
    // The node may have gone while that was committed: nobody would tell us later.
    if (signal.aborted) return;
    // Listens before it reads, so that no change falls between the two.
    let wake = deferred<void>();
    const stop = feed.listen(nodeId, (error) => (error === undefined ? wake.resolve() : wake.reject(error)));
    const gone = (): void => wake.resolve();
    signal.addEventListener('abort', gone, { once: true });
    try {
      let last = '';
      while (!signal.aborted) {
        wake.promise.catch(() => undefined);
        const notice = store.view((tx) => noticeOf(clusterOf(tx), member(tx, nodeId)));
        const text = JSON.stringify(notice);
        if (text !== last) yield notice;
        last = text;
        await wake.promise;
        wake = deferred();
      }
    } finally {
      signal.removeEventListener('abort', gone);
      stop();
    }
  } finally {
    leave();
  }
}

function noticeOf(cluster: Cluster, node: Node): IdentityNotice {
  return { role: node.spec.role, issuer: issuerDigest(cluster), roots: trustedRoots(cluster) };
}

function member(tx: ReadTransaction, nodeId: NodeId): Node {
  const node = tx.get('node', nodeId);
  if (node !== undefined) return node;
  throw new TsswarmError('PERMISSION_DENIED', `looking for the node "${nodeId}": it was removed from the cluster`, {
    hint: 'to bring it back: tsswarm leave --force, then tsswarm join with a token',
  });
}

function refusal(caller: Caller): TsswarmError {
  if (caller.kind === 'anonymous' && caller.why !== undefined) {
    const { reason, hint } = caller.why;
    return new TsswarmError('PERMISSION_DENIED', `renewing a certificate: ${reason}`, { hint });
  }
  return new TsswarmError(
    'PERMISSION_DENIED',
    'issuing a certificate: neither a join token nor a certificate was shown',
    {
      hint: 'join with a token: tsswarm join --token …',
    },
  );
}

/** A certificate that is not valid yet where it is used helps nobody: say what is wrong instead. */
function checkClock(theirs: number, ours: number): void {
  const skew = clockSkew(theirs, ours);
  if (skew === undefined) return;
  throw new TsswarmError('PERMISSION_DENIED', `issuing a certificate: ${skew}`, { hint: CLOCK_HINT });
}

/** The CA for a node in the same process, as if it called over its own connection. */
export function caInProcess(
  ca: ServiceHandlers<typeof caService>,
  node: () => { readonly nodeId: NodeId; readonly role: Node['spec']['role'] },
): Pick<ServiceClient<typeof caService>, 'issueCertificate' | 'watchIdentity'> {
  const caller = (): Caller => ({ kind: 'node', ...node() });
  const never = new AbortController().signal;
  return {
    issueCertificate: (request, signal) => ca.issueCertificate(request, signal ?? never, caller()),
    watchIdentity: (request, signal) => ca.watchIdentity(request, signal ?? never, caller()),
  };
}
