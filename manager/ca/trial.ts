import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { NodeId } from '../../base/ids.ts';
import type { Cluster, ExternalCa } from '../../proto/types/index.ts';
import { readRequest } from './issue.ts';
import { issue } from './issuer.ts';
import type { IssuerOptions } from './issuer.ts';
import { KEY_ALGORITHM } from './signing-key.ts';

/**
 * Has external CAs sign a certificate that nobody will use: better to find out now than when nodes have to renew.
 * @param cluster as it is to be: what issues in it is the root that they are tried with
 * @param nodeId of this manager: the name in that certificate
 * @throws UNAVAILABLE with what is wrong with the first one that is
 */
export async function tryExternalCas(
  options: IssuerOptions,
  cluster: Cluster,
  cas: readonly ExternalCa[],
  nodeId: NodeId,
  signal: AbortSignal,
): Promise<void> {
  for (const ca of cas) {
    const keys = (await webcrypto.subtle.generateKey(KEY_ALGORITHM, false, [
      'sign',
      'verify',
    ])) as webcrypto.CryptoKeyPair;
    const request = await x509.Pkcs10CertificateRequestGenerator.create({
      name: [{ CN: [nodeId] }],
      keys: keys as never,
      signingAlgorithm: KEY_ALGORITHM,
    });
    const csr = request.toString('pem');
    const candidate = { ...cluster, spec: { ...cluster.spec, externalCas: [ca] } };
    await issue(options, candidate, csr, await readRequest(csr), { nodeId, role: 'manager' }, signal);
  }
}
