import assert from 'node:assert/strict';
import { TsswarmError } from '../../base/errors.ts';
import type { IssueCertificateResponse } from '../../proto/types/index.ts';
import type { CaClient } from '../../worker/identity/client.ts';
import { managersCa } from './own-ca.ts';

type Request = Parameters<CaClient['issueCertificate']>[0];
const REQUEST = {} as Request;

/** A CA that answers with its name, or not at all. */
function ca(name: string, failure?: Error): CaClient {
  return {
    issueCertificate: () =>
      failure === undefined ? Promise.resolve({ certificate: name } as never) : Promise.reject(failure),
    async *watchIdentity() {
      await Promise.resolve();
      if (failure !== undefined) throw failure;
      yield { role: name } as never;
    },
  };
}

/** The answer, and how often the next manager was gone on to. */
async function ask(own: CaClient, other: CaClient): Promise<{ answer: string; watched: string; turns: number }> {
  let turns = 0;
  const connection = () => ({ service: () => other, close: () => undefined }) as never;
  const asked = managersCa(own, { connection, next: () => void turns++ });
  const said = (error: unknown): string => (error as Error).message;
  const issued = asked.issueCertificate(REQUEST);
  const answer = await issued.then((one: IssueCertificateResponse) => String(one.certificate), said);
  let watched = '';
  try {
    for await (const one of asked.watchIdentity({} as never)) watched = String(one.role);
  } catch (error) {
    watched = said(error);
  }
  return { answer, watched, turns };
}

describe('the CA of a manager', () => {
  const cutOff = new TsswarmError('NOT_LEADER', 'no leader is known');
  const gone = new TsswarmError('UNAVAILABLE', 'nobody is there');

  it('is its own, while that answers', async () => {
    assert.deepEqual(await ask(ca('own'), ca('other')), { answer: 'own', watched: 'own', turns: 0 });
  });
  it('is that of another manager when its own hears of no leader any more', async () => {
    for (const failure of [cutOff, gone])
      assert.deepEqual(await ask(ca('own', failure), ca('other')), { answer: 'other', watched: 'other', turns: 0 });
  });
  it('is that of the next one, the next time, when that does not answer either', async () => {
    const { message } = gone;
    assert.deepEqual(await ask(ca('own', cutOff), ca('other', gone)), { answer: message, watched: message, turns: 2 });
  });
  it('is nobody else where its own refuses', async () => {
    const refusal = new TsswarmError('PERMISSION_DENIED', 'the token is rotated');
    const { message } = refusal;
    assert.deepEqual(await ask(ca('own', refusal), ca('other')), { answer: message, watched: message, turns: 0 });
  });
});
