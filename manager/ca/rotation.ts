import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import type { Clock } from '../../base/clock.ts';
import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { rootDigest } from '../../base/join-token.ts';
import type { Random } from '../../base/random.ts';
import { verifyChain } from '../../proto/rpc/certificate.ts';
import type { CaRotation, Cluster, GetCaResponse, Node, UpdateClusterRequest } from '../../proto/types/index.ts';
import { checkClusterSettings, withSettings } from '../cluster/spec.ts';
import type { ReadTransaction, Store } from '../store/types.ts';
import { clusterOf } from './cluster.ts';
import { authorityOf } from './issue.ts';
import { newJoinToken } from './join-token.ts';
import { BACKDATE_MS, createRootCa, newSerialNumber, pem } from './root.ts';
import type { RootCa } from './root.ts';
import { importSigningKey } from './signing-key.ts';
import { withoutToken } from './tokens.ts';

/** How many former roots are remembered, to tell "was rotated" from "is of another cluster". */
const REMEMBERED_ROOTS = 16;

/** How far a rotation has come. */
export interface RotationProgress {
  readonly startedAt: number;
  readonly total: number;
  /** Nodes that do not use the new root yet: down ones hold the rotation up until they are back or removed. */
  readonly waitingFor: readonly NodeId[];
}

/**
 * `tsswarm ca --rotate`: begins to move the cluster to another root. From the commit on certificates come from the new
 * root, with the new root as signed by the old one beside them, so that nodes of both kinds trust each other.
 * @param root from {@link readExternalRoot}; absent: a new one is made
 * @param settings of the cluster, to be changed with it
 * @returns PEM of the new root
 * @throws IN_USE while a rotation is under way; INVALID_INPUT for a root that is the present one
 */
export async function startCaRotation(
  { store, clock }: { readonly store: Store; readonly clock: Pick<Clock, 'now'> },
  root?: RootCa,
  settings: UpdateClusterRequest = {},
): Promise<string> {
  checkClusterSettings(settings);
  const cluster = store.view((tx) => notRotating(tx));
  const now = clock.now();
  const next = root ?? (await createRootCa(cluster.id, now));
  const rotation: CaRotation = {
    startedAt: now,
    rootCertificate: next.certificate,
    rootKey: next.key,
    crossCertificate: await crossSign(cluster, next, now),
  };
  await store.update((tx) => {
    const now = notRotating(tx);
    tx.update('cluster', { ...now, spec: withSettings(now.spec, settings), caRotation: rotation });
  });
  return next.certificate;
}

/** What `tsswarm ca` shows. */
export function caStatus(cluster: Cluster, nodes: readonly Node[]): GetCaResponse {
  const rootCertificate = cluster.rootCaCertificate;
  if (cluster.caRotation === undefined) return { rootCertificate };
  const { startedAt, rootCertificate: next } = cluster.caRotation;
  const digest = rootDigest(next);
  const rotation = {
    startedAt,
    rootCertificate: next,
    nodes: nodes.map((node) => ({
      nodeId: node.id,
      hostname: node.description.hostname,
      state: node.status.state,
      done: uses(node, digest),
    })),
  };
  return { rootCertificate, rotation };
}

/** Undefined: no rotation is under way. */
export function rotationProgress(cluster: Cluster, nodes: readonly Node[]): RotationProgress | undefined {
  if (cluster.caRotation === undefined) return undefined;
  const digest = rootDigest(cluster.caRotation.rootCertificate);
  const waitingFor = nodes.filter((node) => !uses(node, digest)).map(({ id }) => id);
  return { startedAt: cluster.caRotation.startedAt, total: nodes.length, waitingFor };
}

/**
 * The cluster after its rotation: the new root alone, and new join tokens, as those of the old root name what is gone.
 * Undefined as long as a node still uses the old root.
 */
export function finishedRotation(cluster: Cluster, nodes: readonly Node[], random: Random): Cluster | undefined {
  const { caRotation, ...rest } = cluster;
  const progress = rotationProgress(cluster, nodes);
  if (caRotation === undefined || progress === undefined || progress.waitingFor.length > 0) return undefined;
  const { rootCertificate, rootKey } = caRotation;
  const next: Cluster = {
    ...rest,
    rootCaCertificate: rootCertificate,
    rootCaKey: rootKey,
    joinTokens: { worker: newJoinToken(rootCertificate, random), manager: newJoinToken(rootCertificate, random) },
    formerRoots: [...(cluster.formerRoots ?? []), rootDigest(cluster.rootCaCertificate)].slice(-REMEMBERED_ROOTS),
  };
  return withoutToken(withoutToken(next, cluster, 'worker'), cluster, 'manager');
}

function uses({ certificate }: Node, digest: string): boolean {
  return certificate?.usedIssuer === digest && certificate.trustedRoots.includes(digest);
}

function notRotating(tx: ReadTransaction): Cluster {
  const cluster = clusterOf(tx);
  const { rotation } = caStatus(cluster, tx.list('node'));
  if (rotation === undefined) return cluster;
  const waiting = rotation.nodes.filter(({ done }) => !done);
  const names = waiting.slice(0, 5).map(({ hostname, nodeId, state }) => `${hostname} (${nodeId}, ${state})`);
  throw new TsswarmError(
    'IN_USE',
    `rotating the CA: a rotation is under way, ${waiting.length} of ${rotation.nodes.length} nodes have not renewed yet`,
    { hint: `wait for them, or remove those that do not come back (tsswarm node rm): ${names.join(', ')}` },
  );
}

/** The new root's name and key, signed by the present root: who trusts only that one still finds a way. */
async function crossSign(cluster: Cluster, next: RootCa, now: number): Promise<string> {
  const [old, subject] = [cluster.rootCaCertificate, next.certificate].map((text) => new x509.X509Certificate(text));
  if (old === undefined || subject === undefined) throw new Error('impossible: two were parsed');
  if (rootDigest(cluster.rootCaCertificate) === rootDigest(next.certificate))
    throw new TsswarmError('INVALID_INPUT', 'rotating the CA: the given root is the present one', {
      hint: 'give another one, or none: a new root is made then',
    });
  if (old.subject === subject.subject) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `rotating the CA: the new root has the name of the present one, "${subject.subject}"`,
      { hint: 'give the new root another CN, so that nobody takes one for the other' },
    );
  }
  const { key, algorithm } = await importSigningKey(cluster.rootCaKey);
  const identifier = subject.getExtension(x509.SubjectKeyIdentifierExtension);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerialNumber(),
    subject: subject.subjectName,
    issuer: old.subjectName,
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(Math.min(old.notAfter.getTime(), subject.notAfter.getTime())),
    publicKey: subject.publicKey,
    signingKey: key as never,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      identifier ?? (await x509.SubjectKeyIdentifierExtension.create(subject.publicKey)),
      await authorityOf(old),
    ],
  });
  const text = pem(certificate);
  verifyChain(text, cluster.rootCaCertificate, now);
  return text;
}
