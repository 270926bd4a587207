import { equal, match } from 'node:assert/strict';
import { EMPTY_RULESET } from './ruleset.ts';
import type { Ruleset } from './ruleset.ts';
import { changeIpv6Rules, repairIpv6Rules } from './ruleset-ipv6.ts';

const PLAIN = { name: 'ts-plain', subnet: '10.128.1.0/24', internal: false };
const DUAL = { name: 'ts-dual', subnet: '10.128.2.0/24', internal: false, ipv6Subnet: 'fd00:2::/64' };
const INNER = { name: 'ts-inner', subnet: '10.128.3.0/24', internal: true, ipv6Subnet: 'fd00:3::/64' };

function rules(change: Partial<Ruleset>): Ruleset {
  return { ...EMPTY_RULESET, ...change };
}

describe('rules of IPv6', () => {
  for (const [title, before, wanted, expected] of [
    ['are not made for networks without it', [], [PLAIN], ''],
    ['are left alone when nothing changes', [DUAL], [PLAIN, { ...DUAL }], ''],
    ['go with the last network that has it', [PLAIN, DUAL], [PLAIN], 'delete table ip6 t'],
    [
      'get what comes',
      [DUAL],
      [DUAL, INNER],
      'add element ip6 t bridges { "ts-inner" }\nadd element ip6 t internal { "ts-inner" }\nadd element ip6 t same { "ts-inner" . "ts-inner" }\nadd element ip6 t inside { "ts-inner" . fd00:3::/64 }\nadd element ip6 t subnets { fd00:3::/64 }',
    ],
    [
      'let a network out that is internal no more',
      [INNER],
      [{ ...INNER, internal: false }],
      'delete element ip6 t internal { "ts-inner" }\nadd element ip6 t outgoing { fd00:3::/64 }',
    ],
  ] as const)
    it(title, () => equal(changeIpv6Rules('t', rules({ bridges: before }), rules({ bridges: wanted })), expected));

  it('are made whole with the first network', () => {
    const script = changeIpv6Rules('t', EMPTY_RULESET, rules({ bridges: [DUAL], ipv6Hardware: ['eth0'] }));
    match(script, /^add table ip6 t$/m);
    match(script, /^add rule ip6 t forward oifname @bridges drop$/m);
    match(script, /^add element ip6 t outgoing { fd00:2::\/64 }$/m);
    match(script, /^add element ip6 t hardware { "eth0" }$/m);
  });
  it('of which nothing is known are emptied and filled, or go where they are there', () => {
    match(
      repairIpv6Rules('t', rules({ bridges: [DUAL] }), true),
      /flush set ip6 t outgoing\n(.*\n)*add element ip6 t outgoing/,
    );
    equal(repairIpv6Rules('t', rules({ bridges: [PLAIN] }), true), 'delete table ip6 t');
    equal(repairIpv6Rules('t', rules({ bridges: [PLAIN] }), false), '');
  });
});
