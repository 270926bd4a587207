import { deepEqual, equal } from 'node:assert/strict';
import { forwardDrops, setMembers } from './nft-listing.ts';

const chain = (table: string, policy: string, hook = 'forward', family = 'ip'): object => ({
  chain: { family, table, name: 'FORWARD', hook, policy },
});
const rule = (table: string, ...expr: readonly object[]): object => ({
  rule: { family: 'ip', table, chain: 'FORWARD', expr },
});
const match = (key: string, right: string): object => ({ match: { op: '==', left: { meta: { key } }, right } });
const drops = (...nftables: readonly object[]): readonly string[] =>
  forwardDrops({ nftables: [{ metainfo: {} }, ...nftables] }, 'tsswarm_x').map(
    ({ chain: name, out, into }) => `${name}${out ? ' out' : ''}${into ? ' into' : ''}`,
  );
const ACCEPT = { accept: null };

describe('chains that stop packets of containers', () => {
  it('have a policy or a last rule that drops', () => {
    deepEqual(drops(chain('filter', 'drop')), ['ip filter FORWARD out into']);
    deepEqual(drops(chain('filter', 'accept')), []);
    deepEqual(drops(chain('filter', 'drop', 'input')), []);
    deepEqual(drops(chain('tsswarm_x', 'drop')), []);
    deepEqual(drops(chain('firewalld', 'accept'), rule('firewalld', { reject: { type: 'icmpx' } })), [
      'ip firewalld FORWARD out into',
    ]);
    deepEqual(drops(chain('f', 'accept'), rule('f', match('iifname', 'eth1'), { drop: null })), []);
    deepEqual(drops(chain('f', 'accept'), rule('f', { xt: { type: 'match' } }, { drop: null })), []);
  });

  it('do not where their rules let the bridges through', () => {
    const counter = { counter: { packets: 0, bytes: 0 } };
    const out = rule('filter', match('iifname', 'ts-*'), counter, ACCEPT);
    const into = rule('filter', match('oifname', 'ts-*'), counter, ACCEPT);
    deepEqual(drops(chain('filter', 'drop'), out), ['ip filter FORWARD into']);
    deepEqual(drops(chain('filter', 'drop'), out, into), []);
    const translated = rule('filter', { match: { op: 'in', left: { ct: { key: 'status' } }, right: 'dnat' } }, ACCEPT);
    deepEqual(drops(chain('filter', 'drop'), out, translated), []);
  });

  it('are read beside what is no listing', () => {
    deepEqual(forwardDrops(undefined, ''), []);
    equal(setMembers({}), undefined);
    deepEqual(setMembers({ nftables: [{ set: { name: 'bridges', elem: ['ts-a'] } }] }), ['ts-a']);
    deepEqual(setMembers({ nftables: [{ set: { name: 'bridges' } }] }), []);
  });
});
