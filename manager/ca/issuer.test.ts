import assert from 'node:assert/strict';
import { TsswarmError, isTsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import type { Cluster, ExternalCa, NodeRole } from '../../proto/types/index.ts';
import { caCluster } from '../../test/builders/ca-cluster.ts';
import type { CaCluster } from '../../test/builders/ca-cluster.ts';
import { createCertificateRequest } from '../../worker/identity/request.ts';
import { issueCertificate, readRequest } from './issue.ts';
import { issue } from './issuer.ts';
import { createRootCa } from './root.ts';
import type { ExternalSigner } from './signer/signer.ts';

const NODE = { nodeId: 'node1' as NodeId, role: 'worker' as NodeRole };

describe('certificates that an external CA issues', () => {
  let ca: CaCluster;
  let cluster: Cluster;
  before(async () => (ca = await caCluster(9)));
  after(() => ca.close());
  beforeEach(() => (cluster = withCas('https://one')));

  const external = (url: string): ExternalCa => ({
    protocol: 'cfssl',
    url,
    rootCertificate: ca.cluster().rootCaCertificate,
  });
  const withCas = (...urls: readonly string[]): Cluster => {
    const now = ca.cluster();
    return { ...now, spec: { ...now.spec, externalCas: urls.map(external) } };
  };
  const issued = async (sign: ExternalSigner) => {
    const { csr } = await createCertificateRequest();
    return issue({ clock: ca.clock, sign }, cluster, csr, await readRequest(csr), NODE);
  };
  /** What an honest CA answers, but for what is changed. */
  const answering =
    (change: { cluster?: Partial<Cluster>; node?: Partial<typeof NODE>; csr?: string } = {}): ExternalSigner =>
    async (_, { csr }) => {
      const request = await readRequest(change.csr ?? csr);
      const signed = await issueCertificate(
        { ...ca.cluster(), ...change.cluster },
        request,
        { ...NODE, ...change.node },
        Date.now(),
      );
      return signed.certificate;
    };
  const down: ExternalSigner = ({ url }) => Promise.reject(new TsswarmError('UNAVAILABLE', `${url} is down`));

  it('are taken when they are what was asked for', async () => {
    const { certificate, expiresAt, issuedAt } = await issued(answering());
    assert.match(certificate, /BEGIN CERTIFICATE/);
    assert.ok(issuedAt < Date.now() && expiresAt > Date.now());
  });

  it('come from the next one when the first is down', async () => {
    cluster = withCas('https://one', 'https://two');
    const honest = answering();
    assert.ok(await issued((to, request) => (to.url.endsWith('one') ? down(to, request) : honest(to, request))));
    await assert.rejects(issued(down), /https:\/\/one is down; https:\/\/two is down/);
  });

  it('come from the managers when the external CA is for another root', async () => {
    const other = await createRootCa('other', Date.now());
    cluster = {
      ...cluster,
      spec: { ...cluster.spec, externalCas: [{ ...external('x'), rootCertificate: other.certificate }] },
    };
    assert.match((await issued(down)).certificate, /BEGIN/);
    await assert.rejects(
      (async () => {
        cluster = { ...cluster, rootCaKey: '' };
        await issued(down);
      })(),
      /the key of the root is not here, and no external CA is/,
    );
  });

  const refused: readonly (readonly [string, () => Promise<ExternalSigner> | ExternalSigner, RegExp])[] = [
    ['nothing', () => () => Promise.resolve('certificate'), /there is none in the answer/],
    ['another key', async () => answering({ csr: (await createCertificateRequest()).csr }), /it is for another key/],
    [
      'another node',
      () => answering({ node: { nodeId: 'node2' as NodeId } }),
      /it names "CN=node2, .*expected CN=node1/,
    ],
    ['another role', () => answering({ node: { role: 'manager' } }), /expected CN=node1, OU=swarm-worker/],
    ['another cluster', () => answering({ cluster: { id: 'elsewhere' as Cluster['id'] } }), /O=elsewhere/],
    [
      'another root',
      async () => {
        const { certificate, key } = await createRootCa('other', Date.now());
        return answering({ cluster: { rootCaCertificate: certificate, rootCaKey: key } });
      },
      /no root of this cluster has signed it/,
    ],
  ];
  for (const [what, sign, reason] of refused) {
    it(`are refused when they are of ${what}`, async () => {
      await assert.rejects(issued(await sign()), (error) => {
        assert.ok(isTsswarmError(error, 'UNAVAILABLE'));
        assert.match(error.message, reason);
        assert.ok(error.hint);
        return true;
      });
    });
  }
});
