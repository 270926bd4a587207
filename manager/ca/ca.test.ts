import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { isTsswarmError } from '../../base/errors.ts';
import { seededRandom } from '../../base/random.ts';
import { parseJoinToken, rootDigest } from '../../base/join-token.ts';
import { newJoinToken } from './join-token.ts';
import { createRootCa } from './root.ts';

describe('the cluster CA', () => {
  it('makes a self-signed P-256 root that lives for 20 years', async () => {
    const { certificate, key } = await createRootCa('cluster1', Date.UTC(2026, 0, 1));
    const parsed = new X509Certificate(certificate);
    assert.ok(parsed.ca);
    assert.ok(parsed.verify(parsed.publicKey));
    assert.match(parsed.subject, /O=cluster1/);
    assert.equal(new Date(parsed.validTo).getUTCFullYear(), 2045);
    assert.equal(createPrivateKey(key).asymmetricKeyDetails?.namedCurve, 'prime256v1');
  });

  it('makes tokens that name the root and keep a secret', async () => {
    const { certificate } = await createRootCa('cluster1', 0);
    const random = seededRandom(1);
    const [worker, manager] = [newJoinToken(certificate, random), newJoinToken(certificate, random)];
    assert.match(worker, /^SWMTKN-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
    assert.equal(parseJoinToken(worker).rootDigest, rootDigest(certificate));
    assert.notEqual(parseJoinToken(worker).secret, parseJoinToken(manager).secret);
  });

  it('refuses what is no token', () => {
    for (const text of ['', 'SWMTKN-1-abc', 'SWMTKN-2-'.padEnd(85, 'a')]) {
      assert.throws(
        () => parseJoinToken(text),
        (error) => isTsswarmError(error, 'INVALID_INPUT'),
      );
    }
  });
});
