import assert from 'node:assert/strict';
import { isTsswarmError } from '../../base/errors.ts';
import { checkAdvertised } from './advertised.ts';

describe('--advertise-addr', () => {
  for (const text of [undefined, '127.0.0.1', '127.0.0.1:2400', 'lo', 'lo:2400', 'localhost'])
    it(`takes ${text ?? 'nothing'} without a word`, async () => assert.equal(await checkAdvertised(text), ''));

  it('says of a foreign address what it has to be good for', async () => {
    assert.match(
      await checkAdvertised('192.0.2.7:2400'),
      /^Note: 192\.0\.2\.7 is no address of this machine\. .*has: .+\n$/,
    );
  });

  it('refuses what is no address, interface or name, and says what there is', () =>
    assert.rejects(checkAdvertised('nosuch0.invalid'), (error) => {
      assert.ok(isTsswarmError(error, 'INVALID_INPUT'));
      assert.match(error.message, /"nosuch0\.invalid" is no address, no network interface of this machine/);
      assert.match(error.hint ?? '', /^this machine has: /);
      return true;
    }));
});
