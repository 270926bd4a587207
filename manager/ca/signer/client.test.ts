import assert from 'node:assert/strict';
import { isTsswarmError } from '../../../base/errors.ts';
import type { ClusterId, NodeId } from '../../../base/ids.ts';
import { identityOf, verifyChain } from '../../../proto/rpc/certificate.ts';
import type { TlsIdentity } from '../../../proto/rpc/live-identity.ts';
import { SigningServer, refuse, respond } from '../../../test/builders/signing-server.ts';
import type { SignAnswer } from '../../../test/builders/signing-server.ts';
import { VirtualClock } from '../../../test/fakes/virtual-clock.ts';
import { createCertificateRequest } from '../../../worker/identity/request.ts';
import { createRootCa } from '../root.ts';
import { externalSigner } from './client.ts';
import { CROSS_SIGN_PROFILE } from './signer.ts';

const SUBJECT = { nodeId: 'node1' as NodeId, unit: 'swarm-worker', clusterId: 'c1' as ClusterId };

describe("CFSSL's sign request", () => {
  let server: SigningServer;
  let clock: VirtualClock;
  let mine: TlsIdentity;
  let csr: string;
  before(async () => {
    server = await SigningServer.create();
    mine = { ...(await server.issue('manager1')), roots: server.root.certificate };
    ({ csr } = await createCertificateRequest());
  });
  beforeEach(() => (clock = new VirtualClock(Date.now())));
  afterEach(async () => {
    await server.stop();
    server.requests.length = 0;
    server.clients.length = 0;
  });

  const ask = async (shown = mine, signal?: AbortSignal): Promise<string> => {
    const sign = externalSigner({ clock, identity: () => shown });
    return sign(server.externalCa, { csr, subject: SUBJECT, hosts: ['node1', 'swarm-worker'] }, signal);
  };
  const answered = async (answer: SignAnswer): Promise<void> => {
    server.answer = answer;
    await server.start(server.root.certificate);
  };
  const refused = async (asked: Promise<string>, reason: RegExp): Promise<void> => {
    await assert.rejects(asked, (error) => {
      assert.ok(isTsswarmError(error, 'UNAVAILABLE'), String(error));
      assert.match(error.message, /^asking the external CA "https:\/\/localhost:\d+\/api\/v1\/cfssl\/sign" for a /);
      assert.match(error.message, reason);
      assert.match(error.hint ?? '', /check that it runs/);
      return true;
    });
  };

  it('names the node, its role and its cluster, and shows the certificate of the manager', async () => {
    await server.start(server.root.certificate);
    const certificate = await ask();
    assert.deepEqual(identityOf(certificate), { nodeId: 'node1', role: 'worker', clusterId: 'c1' });
    assert.ok(verifyChain(certificate, server.root.certificate, Date.now()));
    assert.deepEqual(server.clients, ['CN=manager1']);
    assert.deepEqual(server.requests, [
      {
        certificate_request: csr,
        hosts: ['node1', 'swarm-worker'],
        subject: { CN: 'node1', names: [{ OU: 'swarm-worker', O: 'c1' }] },
      },
    ]);
  });

  it('leaves the names to the request, and names a profile, for what is no node', async () => {
    await server.start(server.root.certificate);
    await externalSigner({ clock, identity: () => mine })(server.externalCa, { csr, profile: CROSS_SIGN_PROFILE });
    assert.deepEqual(server.requests, [{ certificate_request: csr, profile: 'CA' }]);
  });

  it('says when nobody listens', async () => {
    await server.start();
    const { externalCa } = server;
    await server.stop();
    await refused(
      externalSigner({ clock, identity: () => mine })(externalCa, { csr, subject: SUBJECT }),
      /ECONNREFUSED/,
    );
  });

  it('gives up a CA that does not answer', async () => {
    const asked = Promise.withResolvers<void>();
    await answered(() => asked.resolve());
    const asking = refused(ask(), /no answer within 10 s/);
    await asked.promise;
    await clock.advance(10_000);
    await asking;
  });

  it('ends when nobody wants the answer any more', async () => {
    const asked = Promise.withResolvers<void>();
    await answered(() => asked.resolve());
    const caller = new AbortController();
    const asking = assert.rejects(ask(mine, caller.signal), /the caller has gone/);
    await asked.promise;
    caller.abort(new Error('the caller has gone'));
    await asking;
  });

  it('does not ask a server of another root', async () => {
    await server.start(undefined, await createRootCa('other', Date.now()));
    await refused(ask(), /it shows a certificate of another root/);
    assert.deepEqual(server.requests, []);
  });

  it('says that a certificate is wanted where it has none', async () => {
    await server.start(server.root.certificate);
    await refused(
      ask({ certificate: '', key: '', roots: server.root.certificate }),
      /it lets nobody in without a|closes the connection/,
    );
  });

  it('says that its own certificate is not taken', async () => {
    const other = await SigningServer.create();
    await server.start(server.root.certificate);
    await refused(
      ask({ ...(await other.issue('manager1')), roots: server.root.certificate }),
      /does not take the certificate/,
    );
    assert.deepEqual(server.requests, []);
  });

  const wrong: readonly (readonly [string, SignAnswer, RegExp])[] = [
    [
      'a refusal',
      (_, response) => refuse(response, 400, 1400, 'policy says no'),
      /refuses with status 400: policy says no \(1400\)$/,
    ],
    ['no JSON', (_, response) => void response.end('<html>'), /it answers with status 200, and no JSON: <html>$/],
    [
      'success without a certificate',
      (_, response) => void response.end('{"success":true,"result":{}}'),
      /refuses with status 200: \{"success":true/,
    ],
    [
      'a number where text belongs',
      (_, response) => void response.end('{"success":true,"result":{"certificate":7}}'),
      /refuses with status 200/,
    ],
    ['null', (_, response) => void response.end('null'), /refuses with status 200: null/],
    [
      'errors that are none',
      (_, response) => void response.end('{"errors":"all of them"}'),
      /refuses with status 200: \{"errors"/,
    ],
    ['too much', (_, response) => respond(response, 'x'.repeat(300_000)), /more than 262144 bytes/],
    ['a broken connection', (_, response) => void response.destroy(), /it closes the connection/],
  ];
  for (const [what, answer, reason] of wrong) {
    it(`refuses ${what}`, async () => {
      await answered(answer);
      await refused(ask(), reason);
    });
  }
});
