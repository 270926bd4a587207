import assert from 'node:assert/strict';
import { isTsswarmError } from '../../../base/errors.ts';
import { parseStoreUrl, storeUrl } from './access.ts';
import { etcdFailure, isStaleToken, isUnsent, reasonOf } from './failures.ts';
import { demandUsable } from './members.ts';
import type { MemberReport } from './members.ts';

const refused = (text: string, message: RegExp): void =>
  assert.throws(
    () => parseStoreUrl(text),
    (error) => {
      assert.ok(isTsswarmError(error, 'INVALID_INPUT'));
      assert.match(error.message, message);
      return true;
    },
  );

describe('the URL of an external store', () => {
  it('names members, prefix, user and whether TLS is spoken', () => {
    const access = parseStoreUrl('etcds://me:p%40ss@10.0.0.1,db.local:23790,[fd00::1]:1/a/b');
    assert.deepEqual(access, {
      endpoints: ['10.0.0.1:2379', 'db.local:23790', '[fd00::1]:1'],
      prefix: '/a/b/',
      tls: true,
      caCertificate: '',
      certificate: '',
      key: '',
      user: 'me',
      password: 'p@ss',
    });
    assert.equal(storeUrl(access), 'etcds://me@10.0.0.1:2379,db.local:23790,[fd00::1]:1/a/b');
  });

  it('has a prefix of its own where none is named', () => {
    for (const text of ['etcd://a', 'etcd://a/', 'etcd://a:2379'])
      assert.equal(storeUrl(parseStoreUrl(text)), 'etcd://a:2379/tsswarm');
  });

  it('is refused where it cannot be meant, without saying the password again', () => {
    refused('10.0.0.1:2379', /begins with etcd:\/\/ or etcds:\/\//);
    refused('http://a:2379', /begins with etcd:\/\/ or etcds:\/\//);
    refused('etcd://', /"" is not <host>/);
    refused('etcd://a,,b', /"" is not <host>/);
    refused('etcd://a:70000', /the port 70000 is not between 1 and 65535/);
    refused('etcd://a:1,a:1', /named twice/);
    refused('etcd://a/pre fix', /"pre fix" in the prefix/);
    refused('etcd://u:%zz@a', /% that begins no escape/);
    assert.throws(
      () => parseStoreUrl('etcd://u:secret@a:0'),
      (error) => !String(error).includes('secret'),
    );
  });
});

describe('failures of etcd', () => {
  it('say the reason without what is around it', () => {
    const cases = [
      [
        '14 UNAVAILABLE: No connection established. Last error: Error: connect ECONNREFUSED 10.0.0.1:2379. Resolution note: x',
        'connect ECONNREFUSED 10.0.0.1:2379',
      ],
      ['3 INVALID_ARGUMENT: etcdserver: user name is empty', 'user name is empty'],
      ['14 UNAVAILABLE: etcdserver: request timed out', 'request timed out'],
      ['4 DEADLINE_EXCEEDED: Deadline exceeded after 0.000s,waiting for name resolution', 'it does not answer'],
    ] as const;
    for (const [text, reason] of cases) assert.equal(reasonOf(new Error(text)), reason);
  });

  it('are told apart by whether asking again can help, and whether anything was sent', () => {
    const unsent = new Error(
      '14 UNAVAILABLE: No connection established. Last error: Error: connect ECONNREFUSED 1.1.1.1:1',
    );
    const lost = new Error('14 UNAVAILABLE: Connection dropped');
    assert.ok(isUnsent(etcdFailure('writing to', unsent)));
    assert.ok(!isUnsent(etcdFailure('writing to', lost)));
    assert.equal(etcdFailure('writing to', lost).code, 'UNAVAILABLE');
    assert.equal(etcdFailure('writing to', new Error('etcdserver: permission denied')).code, 'PERMISSION_DENIED');
    assert.ok(isStaleToken(new Error('16 UNAUTHENTICATED: etcdserver: invalid auth token')));
    assert.ok(!isStaleToken(lost));
  });
});

describe('an etcd for a store', () => {
  const access = parseStoreUrl('etcd://a:1,b:1');
  const report = (change: Partial<MemberReport>): MemberReport => ({
    address: 'a:1',
    version: '3.4.23',
    leader: false,
    problem: '',
    clusterId: '7',
    ...change,
  });
  const dead = report({ address: 'b:1', version: '', clusterId: '', problem: 'connect ECONNREFUSED b:1' });
  const refuses = (
    code: 'NOT_SUPPORTED' | 'INVALID_INPUT' | 'UNAVAILABLE',
    message: RegExp,
    ...reports: MemberReport[]
  ) =>
    assert.throws(
      () => demandUsable(access, reports),
      (error) => isTsswarmError(error, code) && message.test(error.message) && error.hint !== undefined,
    );

  it('is taken when one member can be used, of version 3.4 or later', () => {
    demandUsable(access, [report({}), dead]);
    for (const version of ['3.4.0', '3.5.21', '3.10.0', '4.0.0']) demandUsable(access, [report({ version })]);
    refuses('NOT_SUPPORTED', /"a:1" is etcd 3\.3\.27, expected 3\.4 or later/, report({ version: '3.3.27' }), dead);
  });

  it('is refused when its members are of two clusters, or none can be used', () => {
    refuses('INVALID_INPUT', /2 different etcd clusters/, report({}), report({ address: 'b:1', clusterId: '8' }));
    refuses('UNAVAILABLE', /a:1: .*no leader.*; b:1: connect ECONNREFUSED/, leaderless(), dead);
    refuses('UNAVAILABLE', /b:1: connect ECONNREFUSED/, dead);
  });

  const leaderless = () => report({ problem: 'it knows of no leader: a majority of the members must be up' });
});
