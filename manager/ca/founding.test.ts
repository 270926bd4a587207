import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { seededRandom } from '../../base/random.ts';
import { identityOf, verifyChain } from '../../proto/rpc/certificate.ts';
import { createLiveIdentity } from '../../proto/rpc/live-identity.ts';
import { A_DESCRIPTION } from '../../test/builders/ca-cluster.ts';
import { SigningServer, honest, refuse, respond, signed } from '../../test/builders/signing-server.ts';
import type { Issued, SignAnswer } from '../../test/builders/signing-server.ts';
import { VirtualClock } from '../../test/fakes/virtual-clock.ts';
import { createCertificateRequest } from '../../worker/identity/request.ts';
import { memoryStore } from '../store/memory.ts';
import { createAdministration } from './administration.ts';
import { bootstrapCluster } from './bootstrap.ts';
import { foundWithExternalCas } from './founding.ts';
import type { Founding, FoundingCa } from './founding.ts';
import { createCa } from './server.ts';
import { externalSigner } from './signer/client.ts';

const NODE_ID = 'first1' as NodeId;

describe('a cluster whose root an external CA has', () => {
  let server: SigningServer;
  let client: Issued;
  before(async () => {
    server = await SigningServer.create();
    client = await server.issue('the operator');
  });
  beforeEach(async () => {
    server.answer = honest;
    server.requests.length = 0;
    server.clients.length = 0;
    await server.start(server.root.certificate);
  });
  afterEach(() => server.stop());

  const clock = new VirtualClock(Date.now());
  const random = seededRandom(5);
  const never = new AbortController().signal;
  const found = async (externalCas: readonly FoundingCa[] = [{ ...server.externalCa, client }]): Promise<Founding> => {
    const options = { clock, random, nodeId: NODE_ID, addressPools: [], externalCas, signer: externalSigner };
    return foundWithExternalCas({ ...options, ...(await createCertificateRequest()) }, never);
  };
  /** A store that the cluster begins in. */
  const begin = async (founding: Founding) => {
    const store = memoryStore(clock);
    const nodeId = NODE_ID;
    await bootstrapCluster({ store, clock, random, nodeId, description: A_DESCRIPTION, addressPools: [], founding });
    const identity = createLiveIdentity(founding.identity);
    const sign = externalSigner({ clock, identity: () => identity.current });
    const shared = { store, clock, random, sign };
    return {
      store,
      ca: createCa(shared),
      administration: createAdministration({ ...shared, nodeId, keepsState: () => true }),
    };
  };
  const failing = async (founding: Promise<unknown>, message: RegExp, hint: RegExp): Promise<void> => {
    await assert.rejects(founding, (error) => {
      assert.ok(isTsswarmError(error), String(error));
      assert.match(error.message, message);
      assert.match(error.hint ?? '', hint);
      return true;
    });
  };

  it('begins with a first manager that the CA has certified, and has no key of the root', async () => {
    const founding = await found();
    const { store } = await begin(founding);
    const { cluster, node } = store.view((tx) => ({ cluster: tx.list('cluster')[0], node: tx.get('node', NODE_ID) }));
    assert.equal(cluster?.rootCaKey, '');
    assert.equal(cluster.rootCaCertificate, server.root.certificate);
    assert.deepEqual(cluster.spec.externalCas, [server.externalCa]);
    const { certificate } = founding.identity;
    assert.deepEqual(identityOf(certificate), { nodeId: NODE_ID, role: 'manager', clusterId: cluster.id });
    assert.ok(verifyChain(certificate, server.root.certificate, Date.now()));
    assert.ok((node?.certificate?.expiresAt ?? 0) < Date.now() + 37 * 3600_000, 'as long as the CA says');
    // Its own certificate lets it in from then on: that was tried.
    assert.equal(server.clients[0], 'CN=the operator');
    assert.match(server.clients[1] ?? '', /CN=first1/);
  });

  it('has nodes that join and renew certified there', async () => {
    const { ca, store } = await begin(await found());
    const token = store.view((tx) => tx.list('cluster')[0]?.joinTokens.worker ?? '');
    const asking = async (shown: string) => ({
      ...(await createCertificateRequest()),
      token: shown,
      description: A_DESCRIPTION,
      availability: 'active' as const,
      address: '',
      wallTime: clock.now(),
    });
    const joined = await ca.issueCertificate(await asking(token), never, { kind: 'anonymous' });
    const { nodeId } = joined;
    const renewed = await ca.issueCertificate(await asking(''), never, { kind: 'node', nodeId, role: 'worker' });
    for (const { certificate } of [joined, renewed]) {
      assert.equal(identityOf(certificate).role, 'worker');
      assert.ok(verifyChain(certificate, server.root.certificate, Date.now()));
    }
    const before = store.view((tx) => tx.get('node', nodeId)?.certificate);
    server.answer = (_, response) => refuse(response, 403, 1, 'not today');
    await failing(
      (async () => ca.issueCertificate(await asking(token), never, { kind: 'anonymous' }))(),
      /not today/,
      /./,
    );
    assert.equal(
      store.view((tx) => tx.list('node').length),
      2,
      'no member without a certificate',
    );
    assert.deepEqual(
      store.view((tx) => tx.get('node', nodeId)?.certificate),
      before,
    );
  });

  it('is left for a root of its own, which the CA signs', async () => {
    const { administration, store } = await begin(await found());
    const { rootCertificate } = await administration.rotateCa({ certificate: '', key: '', externalCas: [] }, never, {
      kind: 'local',
    });
    const rotation = store.view((tx) => tx.list('cluster')[0]?.caRotation);
    assert.equal(rotation?.rootCertificate, rootCertificate);
    assert.ok(verifyChain(rotation.crossCertificate, server.root.certificate, Date.now()));
    assert.equal(server.requests.at(-1)?.profile, 'CA');
  });

  it('asks the next CA for the first certificate when one fails, and begins with none that does not work', async () => {
    const other = await SigningServer.create(server.root);
    await other.start(server.root.certificate);
    const cas = [server, other].map(({ externalCa }) => ({ ...externalCa, client }));
    try {
      let asked = 0;
      server.answer = (body, response) =>
        ++asked === 1 ? refuse(response, 500, 2, 'a moment') : honest(body, response, server);
      const { cluster } = await found(cas);
      assert.equal(cluster.spec.externalCas?.length, 2);
      assert.deepEqual([asked, other.requests.length], [2, 2]);
      server.answer = (_, response) => refuse(response, 500, 2, 'never');
      await failing(found(cas), /never \(2\)/, /the first certificate was issued/);
    } finally {
      await other.stop();
    }
  });

  it('says that the CA wants a certificate, and how to give one', () =>
    failing(
      found([server.externalCa]),
      /it lets nobody in without a certificate|closes the connection/,
      /cert=<file>,key=<file>/,
    ));

  it('says that the certificate to be let in by is not taken', async () => {
    const stranger = await (await SigningServer.create()).issue('a stranger');
    await failing(found([{ ...server.externalCa, client: stranger }]), /does not take the certificate/, /cert=<file>/);
  });

  it('says that the CA does not let in what it certifies', async () => {
    await server.stop();
    const clients = await SigningServer.create();
    await server.start(clients.root.certificate);
    await failing(
      found([{ ...server.externalCa, client: await clients.issue('the operator') }]),
      /does not take the certificate/,
      /have the service let in clients of its own root/,
    );
  });

  it('needs no certificate where the CA asks for none', async () => {
    await server.stop();
    await server.start();
    assert.ok(await found([server.externalCa]));
  });

  const key = async (): Promise<string> => (await createCertificateRequest()).csr;
  const wrong: readonly (readonly [string, SignAnswer, RegExp])[] = [
    [
      'another key',
      async (body, response) =>
        respond(response, await signed(server.root, { ...body, certificate_request: await key() })),
      /it is for another key/,
    ],
    [
      'another role',
      async (body, response) => {
        const names = [{ OU: 'swarm-worker', O: body.subject?.names[0]?.O ?? '' }];
        respond(response, await signed(server.root, { ...body, subject: { CN: NODE_ID, names } }));
      },
      /OU=swarm-worker.*expected CN=first1, OU=swarm-manager/,
    ],
    [
      'another cluster',
      async (body, response) => {
        const names = [{ OU: 'swarm-manager', O: 'elsewhere' }];
        respond(response, await signed(server.root, { ...body, subject: { CN: NODE_ID, names } }));
      },
      /O=elsewhere/,
    ],
    [
      'the names of the request',
      async (body, response) =>
        respond(response, await signed(server.root, { certificate_request: body.certificate_request })),
      /names no node/,
    ],
    [
      'a root that is not the one named',
      async (body, response) => respond(response, await signed((await SigningServer.create()).root, body)),
      /no root of this cluster has signed it/,
    ],
    [
      'a CA',
      async (body, response) => respond(response, await signed(server.root, { ...body, profile: 'CA' })),
      /it is a CA certificate/,
    ],
  ];
  for (const [what, answer, message] of wrong) {
    it(`does not begin with a certificate of ${what}`, async () => {
      server.answer = answer;
      await failing(found(), message, /mend the configuration of the CA/);
    });
  }
});
