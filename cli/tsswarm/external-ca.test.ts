import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import type { ErrorCode } from '../../base/errors.ts';
import { readExternalCas } from './external-ca.ts';

describe('--external-ca', () => {
  it('is read as docker has it, in any order', async () => {
    assert.deepEqual(await readExternalCas(['protocol=cfssl,url=https://a/sign', 'url=https://b?x=y,protocol=CFSSL']), [
      { protocol: 'cfssl', url: 'https://a/sign', rootCertificate: '' },
      { protocol: 'cfssl', url: 'https://b?x=y', rootCertificate: '' },
    ]);
    assert.deepEqual(await readExternalCas(), []);
  });

  const refused: readonly (readonly [string, ErrorCode, RegExp])[] = [
    ['cfssl', 'INVALID_INPUT', /"cfssl" is not <key>=<value>/],
    ['protocol=vault,url=https://a', 'INVALID_INPUT', /the protocol is "vault", expected cfssl/],
    ['protocol=cfssl', 'INVALID_INPUT', /expected a URL with https/],
    ['protocol=cfssl,url=http://a', 'INVALID_INPUT', /expected a URL with https/],
    ['protocol=cfssl,url=https://a,profile=x', 'NOT_SUPPORTED', /the option "profile" is not known/],
    ['protocol=cfssl,url=https://a,cacert=/no/such', 'INVALID_INPUT', /using cacert "\/no\/such": ENOENT/],
  ];
  for (const [text, code, reason] of refused) {
    it(`refuses ${text}`, () =>
      assert.rejects(readExternalCas([text]), (error) => {
        assert.ok(isTsswarmError(error, code));
        assert.match(error.message, reason);
        return true;
      }));
  }
});
