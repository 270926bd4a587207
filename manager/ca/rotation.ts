import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { rootDigest } from '../../base/join-token.ts';
import type { Random } from '../../base/random.ts';
import { certificatesOf, verifyChain } from '../../proto/rpc/certificate.ts';
import type { CaRotation, Cluster, ClusterSpec, ExternalCa, GetCaResponse, Node } from '../../proto/types/index.ts';
import { checkClusterSettings, withSettings } from '../cluster/spec.ts';
import type { ClusterSettings } from '../cluster/spec.ts';
import type { ReadTransaction, Store } from '../store/types.ts';
import { clusterOf } from './cluster.ts';
import { authorityOf } from './issue.ts';
import { allOf, externalCasOf } from './issuer.ts';
import type { IssuerOptions } from './issuer.ts';
import { newJoinToken } from './join-token.ts';
import { BACKDATE_MS, createRootCa, newSerialNumber, pem } from './root.ts';
import type { RootCa } from './root.ts';
import { CROSS_SIGN_PROFILE } from './signer/signer.ts';
import type { ExternalSigner } from './signer/signer.ts';
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

export interface RotationOptions extends IssuerOptions {
  readonly store: Store;
}

/**
 * `tsswarm ca --rotate`: begins to move the cluster to another root. From the commit on certificates come from the new
 * root, with the new root as signed by the old one beside them, so that nodes of both kinds trust each other.
 * @param root from {@link readExternalRoot}; absent: a new one is made
 * @param settings of the cluster, to be changed with it
 * @param externalCas that sign with the new root
 * @returns PEM of the new root
 * @throws IN_USE while a rotation is under way; INVALID_INPUT for a root that is the present one
 */
export async function startCaRotation(
  { store, clock, sign, mint }: RotationOptions,
  root?: RootCa,
  settings: ClusterSettings = {},
  externalCas: readonly ExternalCa[] = [],
): Promise<string> {
  checkClusterSettings(settings);
  const cluster = store.view((tx) => notRotating(tx));
  const now = clock.now();
  const next = root ?? (await (mint?.createRootCa ?? createRootCa)(cluster.id, now));
  const rotation: CaRotation = {
    startedAt: now,
    rootCertificate: next.certificate,
    rootKey: next.key,
    crossCertificate: await (mint?.crossSign ?? crossSign)(cluster, next, now, sign),
  };
  await store.update((tx) => {
    const now = notRotating(tx);
    const spec = withSettings(now.spec, settings);
    const cas = [...(spec.externalCas ?? []), ...externalCas];
    tx.update('cluster', {
      ...now,
      spec: cas.length === 0 ? spec : { ...spec, externalCas: cas },
      caRotation: rotation,
    });
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
    spec: withoutCasOfOthers(cluster.spec, rootCertificate),
    joinTokens: { worker: newJoinToken(rootCertificate, random), manager: newJoinToken(rootCertificate, random) },
    formerRoots: [...(cluster.formerRoots ?? []), rootDigest(cluster.rootCaCertificate)].slice(-REMEMBERED_ROOTS),
  };
  return withoutToken(withoutToken(next, cluster, 'worker'), cluster, 'manager');
}

/** External CAs of former roots are of no use any more. */
function withoutCasOfOthers({ externalCas = [], ...spec }: ClusterSpec, rootCertificate: string): ClusterSpec {
  const digest = rootDigest(rootCertificate);
  const left = externalCas.filter((ca) => rootDigest(ca.rootCertificate) === digest);
  return left.length === 0 ? spec : { ...spec, externalCas: left };
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
async function crossSign(
  cluster: Cluster,
  next: RootCa,
  now: number,
  sign: ExternalSigner | undefined,
): Promise<string> {
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
  if (cluster.rootCaKey === '') return crossSignOutside(cluster, next, now, sign);
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

/** Where the key of the root that is left is with an external CA, that one signs the next root: by a profile of its own. */
async function crossSignOutside(
  cluster: Cluster,
  next: RootCa,
  now: number,
  sign: ExternalSigner | undefined,
): Promise<string> {
  const cas = externalCasOf(cluster);
  const action = 'rotating the CA: the key of the present root is not here';
  if (cas.length === 0 || sign === undefined)
    throw new TsswarmError('UNAVAILABLE', `${action}, and no external CA is`, {
      hint: 'name the one that has it: tsswarm update --external-ca protocol=cfssl,url=…',
    });
  if (next.key === '') {
    throw new TsswarmError(
      'NOT_SUPPORTED',
      `${action}, nor is that of the next one, so that neither can sign the other`,
      {
        hint: 'go to a root of the cluster first (tsswarm ca --rotate), and on to the other external CA from there',
      },
    );
  }
  const { key, algorithm } = await importSigningKey(next.key);
  const subject = new x509.X509Certificate(next.certificate);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: subject.subjectName,
    keys: { privateKey: key as never, publicKey: await subject.publicKey.export() },
    signingAlgorithm: algorithm,
  });
  const failures: unknown[] = [];
  for (const ca of cas) {
    try {
      const answer = await sign(ca, { csr: request.toString('pem'), profile: CROSS_SIGN_PROFILE });
      return crossSignedBy(ca, answer, cluster, next, now);
    } catch (error) {
      failures.push(error);
    }
  }
  throw allOf(failures);
}

/** What an external CA has signed, if it is the next root. @throws UNAVAILABLE */
function crossSignedBy(ca: ExternalCa, answer: string, cluster: Cluster, next: RootCa, now: number): string {
  const signed = certificatesOf(answer)[0];
  const root = certificatesOf(next.certificate)[0];
  const refuse = (reason: string, hint: string): TsswarmError =>
    new TsswarmError('UNAVAILABLE', `using what the external CA "${ca.url}" has signed: ${reason}`, { hint });
  if (signed === undefined || root === undefined || !signed.publicKey.equals(root.publicKey) || !signed.ca) {
    throw refuse(
      'it is not the next root as a CA',
      `its profile "${CROSS_SIGN_PROFILE}" has to allow that: "ca_constraint": {"is_ca": true}, "usages": ["cert sign", "crl sign"]`,
    );
  }
  if (signed.subject !== root.subject) {
    const [got, wanted] = [signed, root].map(({ subject: name }) => name.replaceAll('\n', ', '));
    throw refuse(
      `it names "${got ?? ''}", expected "${wanted ?? ''}"`,
      'services written in Go put names in an order of their own: give the next root its names in that order, or let the cluster make one',
    );
  }
  const text = `${signed.toString().trimEnd()}\n`;
  verifyChain(text, cluster.rootCaCertificate, now);
  return text;
}
