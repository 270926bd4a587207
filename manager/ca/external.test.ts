import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isTsswarmError } from '../../base/errors.ts';
import type { NodeId } from '../../base/ids.ts';
import { verifyChain } from '../../proto/rpc/certificate.ts';
import { caCluster } from '../../test/builders/ca-cluster.ts';
import { createCertificateRequest } from '../../worker/identity/request.ts';
import { readExternalRoot } from './external.ts';
import { issueCertificate, readRequest } from './issue.ts';
import { createRootCa } from './root.ts';

describe('a root that the user brings', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tsswarm-external-ca-'));
  after(() => rmSync(dir, { recursive: true }));
  let made = 0;

  /** What a user's openssl makes. */
  function openssl(key: string, ...options: string[]): { certificate: string; key: string } {
    const file = join(dir, String(made++));
    const [algorithm = '', ...keyOptions] = key.split(' ');
    const pkeyopt = keyOptions.flatMap((option) => ['-pkeyopt', option]);
    execFileSync('openssl', ['genpkey', '-algorithm', algorithm, ...pkeyopt, '-out', `${file}.key`], { stdio: 'pipe' });
    const defaults = options.some((option) => option.startsWith('basicConstraints'))
      ? []
      : ['-addext', 'basicConstraints=critical,CA:TRUE'];
    execFileSync(
      'openssl',
      ['req', '-x509', '-new', '-key', `${file}.key`, '-subj', '/CN=My CA/O=Me', '-days', '3650', '-out', `${file}.crt`]
        .concat(defaults)
        .concat(options),
      { stdio: 'pipe' },
    );
    return { certificate: readFileSync(`${file}.crt`, 'utf8'), key: readFileSync(`${file}.key`, 'utf8') };
  }

  for (const kind of ['EC ec_paramgen_curve:P-256', 'EC ec_paramgen_curve:P-384', 'RSA rsa_keygen_bits:2048']) {
    it(`signs node certificates that hold: ${kind}`, async () => {
      const { certificate, key } = openssl(kind, '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
      const root = await readExternalRoot(certificate, key, Date.now());
      const { store, cluster } = await caCluster();
      assert.ok(store);
      const mine = { ...cluster(), rootCaCertificate: root.certificate, rootCaKey: root.key };
      const { csr } = await createCertificateRequest();
      const node = { nodeId: 'n' as NodeId, role: 'worker' } as const;
      const issued = await issueCertificate(mine, await readRequest(csr), node, Date.now());
      assert.equal(verifyChain(issued.certificate, root.certificate, Date.now()).subject, 'CN=My CA\nO=Me');
    });
  }

  const P256 = 'EC ec_paramgen_curve:P-256';
  const cases: readonly [title: string, make: () => { certificate: string; key: string }, message: RegExp][] = [
    ['no certificate', () => ({ ...openssl(P256), certificate: 'hello' }), /there are 0 certificates/],
    [
      'two certificates',
      () => {
        const { certificate, key } = openssl(P256);
        return { certificate: certificate + certificate, key };
      },
      /there are 2 certificates/,
    ],
    ['no CA', () => openssl(P256, '-addext', 'basicConstraints=critical,CA:FALSE'), /is no CA certificate/],
    ['no right to sign', () => openssl(P256, '-addext', 'keyUsage=critical,digitalSignature'), /lacks keyCertSign/],
    ['no room below it', () => openssl(P256, '-addext', 'basicConstraints=critical,CA:TRUE,pathlen:0'), /pathlen:0/],
    ['another key', () => ({ ...openssl(P256), key: openssl(P256).key }), /the key does not fit/],
    ['a key that is none', () => ({ ...openssl(P256), key: 'hello' }), /no private key in PEM/],
    ['a kind of key that is not used', () => openssl('ED25519'), /it is ed25519, expected ECDSA/],
    ['a short RSA key', () => openssl('RSA rsa_keygen_bits:1024'), /RSA with 1024 bits/],
  ];
  for (const [title, make, message] of cases) {
    it(`is refused with ${title}`, async () => {
      const { certificate, key } = make();
      await assert.rejects(readExternalRoot(certificate, key, Date.now()), (error) => {
        assert.ok(isTsswarmError(error, 'INVALID_INPUT'), String(error));
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it('is refused before and after its time', async () => {
    const now = Date.now();
    const { certificate, key } = await createRootCa('c', now);
    await assert.rejects(readExternalRoot(certificate, key, now - 7200_000), /valid only from/);
    await assert.rejects(readExternalRoot(certificate, key, now + 20 * 365 * 24 * 3600_000), /ends at/);
  });
});
