import { equal } from 'node:assert/strict';
import { ETCD_AWAY, etcdFailure, notLeader, outcomeUnknown } from './failures.ts';

const away = etcdFailure('reading from', new Error('14 UNAVAILABLE: connect ECONNREFUSED 127.0.0.1:2379'));
const refused = etcdFailure('reading from', new Error('7 PERMISSION_DENIED: etcdserver: permission denied'));

describe('a change that cannot be made in etcd', () => {
  it('is explained by what keeps this manager from etcd, with what to do about just that', () => {
    equal(notLeader(undefined, away).hint, ETCD_AWAY);
    equal(notLeader(undefined, refused).hint, refused.hint);
    equal(notLeader(undefined, refused).message, 'changing the store: reading from etcd: permission denied');
    equal(notLeader(undefined, undefined).hint, 'no leader is known at the moment');
  });

  it('may have been made where nothing was heard of it: that is to be looked for, later where etcd is away', () => {
    const look = 'look whether the change is there before trying again';
    equal(outcomeUnknown(refused).hint, look);
    equal(
      outcomeUnknown(notLeader(undefined, away)).hint,
      `containers run on; once a majority of the members of etcd is up (see "tsswarm status"), ${look}`,
    );
  });
});
