import { isDeepStrictEqual } from 'node:util';
import { TsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { rootDigest } from '../../base/join-token.ts';
import type { Random } from '../../base/random.ts';
import { certificatesOf } from '../../proto/rpc/certificate.ts';
import type { ServiceHandlers } from '../../proto/rpc/server.ts';
import type { membershipService } from '../../proto/rpc/services.ts';
import type { Cluster, ExternalCa, RotateCaRequest } from '../../proto/types/index.ts';
import { withAutolock } from '../cluster/autolock/settings.ts';
import { demandNoOwnState } from '../cluster/own-state.ts';
import { withSettings } from '../cluster/spec.ts';
import type { Store } from '../store/types.ts';
import { clusterOf } from './cluster.ts';
import { readExternalRoot, refuseExpiry } from './external.ts';
import { issuerOf } from './issue.ts';
import { externalCasOf } from './issuer.ts';
import type { IssuerOptions } from './issuer.ts';
import { caStatus, startCaRotation } from './rotation.ts';
import { tryExternalCas } from './trial.ts';

export interface AdministrationOptions extends IssuerOptions {
  readonly store: Store;
  readonly random: Random;
  /** This manager. */
  readonly nodeId: NodeId;
  /** Whether managers keep the state of the cluster themselves. */
  readonly keepsState: () => boolean;
}

/** What `tsswarm ca` and `tsswarm update` ask of the manager that leads. */
export function createAdministration(
  options: AdministrationOptions,
): Pick<ServiceHandlers<typeof membershipService>, 'updateCluster' | 'rotateCa' | 'getCa'> {
  const { store, clock, nodeId } = options;
  return {
    async updateCluster({ externalCas, ...settings }, signal) {
      if (!options.keepsState()) demandNoOwnState(settings);
      const before = store.view(clusterOf);
      const root = issuerOf(before).certificate;
      const cas = externalCas?.cas.map((ca) => completed(ca, root));
      for (const { url, rootCertificate } of cas ?? []) {
        if (rootDigest(rootCertificate) === rootDigest(root)) continue;
        throw new TsswarmError(
          'INVALID_INPUT',
          `using the external CA "${url}": it signs with another root than the cluster has`,
          {
            hint: 'go to that root: tsswarm ca --rotate --ca-cert <file> --external-ca …',
          },
        );
      }
      if (cas?.length === 0 && issuerOf(before).key === '')
        throw new TsswarmError('INVALID_INPUT', 'using no external CA: the key of the root is with one', {
          hint: 'go to another root: tsswarm ca --rotate',
        });
      if (settings.nodeCertExpiryMs !== undefined) refuseExpiry(cas ?? externalCasOf(before));
      await tryExternalCas(options, before, cas ?? [], nodeId, signal);
      return store.update((tx) => {
        const cluster = clusterOf(tx);
        const spec = { ...withSettings(cluster.spec, settings), ...(cas === undefined ? {} : { externalCas: cas }) };
        const next = withAutolock({ ...cluster, spec }, settings, options.random);
        if (isDeepStrictEqual(next, cluster)) return { changed: false };
        tx.update('cluster', next);
        return { changed: true };
      });
    },
    async rotateCa(request, signal) {
      const { nodeCertExpiryMs } = request;
      const certificate = rootOf(request);
      const now = clock.now();
      const root = certificate === '' ? undefined : await readExternalRoot(certificate, request.key, now);
      const cas = root === undefined ? [] : request.externalCas.map((ca) => completed(ca, root.certificate));
      for (const { url, rootCertificate } of cas) {
        if (root === undefined || rootDigest(rootCertificate) === rootDigest(root.certificate)) continue;
        throw new TsswarmError(
          'INVALID_INPUT',
          `using the external CA "${url}": it signs with another root than the one to go to`,
        );
      }
      if (nodeCertExpiryMs !== undefined) refuseExpiry(cas);
      if (root !== undefined && cas.length > 0)
        await tryExternalCas(options, goingTo(store.view(clusterOf), root.certificate, now), cas, nodeId, signal);
      const settings = nodeCertExpiryMs === undefined ? {} : { nodeCertExpiryMs };
      return { rootCertificate: await startCaRotation(options, root, settings, cas) };
    },
    getCa: () => Promise.resolve(store.view((tx) => caStatus(clusterOf(tx), tx.list('node')))),
  };
}

/** The root to go to, as it was given; empty: a new one is to be made. @throws INVALID_INPUT */
function rootOf({ certificate, key, externalCas }: RotateCaRequest): string {
  const given =
    certificate === '' ? (externalCas.find((ca) => ca.rootCertificate !== '')?.rootCertificate ?? '') : certificate;
  const refuse = (reason: string, hint: string): TsswarmError =>
    new TsswarmError('INVALID_INPUT', `rotating the CA: ${reason}`, { hint });
  if (given === '' && externalCas.length > 0)
    throw refuse('which root the external CA signs with is not said', 'give its certificate: --ca-cert <file>');
  if (given === '' && key !== '')
    throw refuse(
      'there is a key without its certificate',
      'give --ca-cert and --ca-key, or neither: a new root is made then',
    );
  if (given !== '' && key === '' && externalCas.length === 0)
    throw refuse('there is a certificate without its key', 'give --ca-key too, or the --external-ca that has the key');
  return given;
}

/** An external CA with its root: the one that is meant, where none is named. @throws INVALID_INPUT */
function completed(ca: ExternalCa, root: string): ExternalCa {
  const bad = (reason: string): TsswarmError =>
    new TsswarmError('INVALID_INPUT', `using the external CA "${ca.url}": ${reason}`, {
      hint: 'as protocol=cfssl,url=https://ca.example:8888/api/v1/cfssl/sign',
    });
  if (ca.protocol !== 'cfssl') throw bad(`the protocol "${String(ca.protocol)}" is not known, expected cfssl`);
  if (!URL.canParse(ca.url) || new URL(ca.url).protocol !== 'https:') throw bad('expected a URL with https');
  if (ca.rootCertificate === '') return { ...ca, rootCertificate: root };
  if (certificatesOf(ca.rootCertificate).length !== 1) throw bad('expected one certificate as its root');
  return ca;
}

/** The cluster as it will be while it goes to a root. */
function goingTo(cluster: Cluster, rootCertificate: string, now: number): Cluster {
  return { ...cluster, caRotation: { startedAt: now, rootCertificate, rootKey: '', crossCertificate: '' } };
}
