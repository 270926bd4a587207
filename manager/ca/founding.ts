import type { Clock } from '../../base/clock.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type { TlsIdentity } from '../../proto/rpc/live-identity.ts';
import type { Cluster, ExternalCa, NodeCertificate } from '../../proto/types/index.ts';
import type { ClusterSettings } from '../cluster/spec.ts';
import { newCluster } from './bootstrap.ts';
import { readExternalRoot } from './external.ts';
import { readRequest, trustedRoots } from './issue.ts';
import { issue } from './issuer.ts';
import type { ExternalSignerOptions } from './signer/client.ts';
import type { ExternalSigner } from './signer/signer.ts';
import { tryExternalCas } from './trial.ts';

/** An external CA of a cluster that does not exist yet. */
export interface FoundingCa extends ExternalCa {
  /** What the CA lets the first manager in by, as long as that has no certificate of the cluster: PEM. Absent: nothing is shown. */
  readonly client?: { readonly certificate: string; readonly key: string };
}

export interface FoundingOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly nodeId: NodeId;
  readonly addressPools: readonly string[];
  /** Prefix length of subnets cut from them; absent: 24. */
  readonly addressPoolPrefix?: number;
  readonly settings?: ClusterSettings;
  /** At least one, all of one root. */
  readonly externalCas: readonly FoundingCa[];
  /** The first manager's key (PKCS #8), and the request for its certificate (PKCS #10). PEM. */
  readonly key: string;
  readonly csr: string;
  /** Makes what asks external CAs. */
  readonly signer: (options: ExternalSignerOptions) => ExternalSigner;
}

/** A cluster whose root's key is with an external CA, and what its first manager is by that. Stored nowhere yet. */
export interface Founding {
  readonly cluster: Cluster;
  readonly certificate: NodeCertificate;
  readonly identity: TlsIdentity;
}

const FIRST_HINT =
  'check that it runs, that it shows a certificate of its root for that name, and that it lets this machine in: by cert=<file>,key=<file> of --external-ca, which are used for the first certificate only';
const NEXT_HINT =
  'the first certificate was issued; with it the manager asks for all others: have the service let in clients of its own root';

/**
 * Makes a cluster whose root is an external CA's (`tsswarm init --external-ca`): that CA certifies the first manager. Then every
 * CA is tried as it will be used, with that certificate shown. Nothing is left anywhere when it fails.
 * @throws INVALID_INPUT for the root; UNAVAILABLE with what the CA does, or does wrong
 */
export async function foundWithExternalCas(options: FoundingOptions, signal: AbortSignal): Promise<Founding> {
  const { clock, nodeId, externalCas, key, csr } = options;
  const root = await readExternalRoot(externalCas[0]?.rootCertificate ?? '', '', clock.now());
  const begun = await newCluster({ ...options, root });
  const cas = externalCas.map(({ protocol, url }) => ({ protocol, url, rootCertificate: root.certificate }));
  const cluster: Cluster = { ...begun, spec: { ...begun.spec, externalCas: cas } };
  const client = ({ url }: ExternalCa): TlsIdentity => {
    const shown = externalCas.find((ca) => ca.url === url)?.client ?? { certificate: '', key: '' };
    return { ...shown, roots: root.certificate };
  };
  const request = await readRequest(csr);
  const role = 'manager';
  const first = options.signer({ clock, identity: client, hint: FIRST_HINT });
  const issued = await issue({ clock, sign: first }, cluster, csr, request, { nodeId, role }, signal);
  const identity: TlsIdentity = { key, certificate: issued.certificate, roots: trustedRoots(cluster) };
  const sign = options.signer({ clock, identity: () => identity, hint: NEXT_HINT });
  await tryExternalCas({ clock, sign }, cluster, cas, nodeId, signal);
  const { issuedAt, expiresAt } = issued;
  const { keyDigest } = request;
  return {
    cluster,
    certificate: { role, keyDigest, issuedAt, expiresAt, usedIssuer: '', trustedRoots: [] },
    identity,
  };
}
