import { deepEqual, doesNotMatch, equal, match } from 'node:assert/strict';
import type { PortForward } from '../types.ts';
import type { Ruleset } from './ruleset.ts';
import { EMPTY_RULESET, changeRules, createRules, removeRules, repairRules } from './ruleset.ts';
import { changedUdpPorts } from './stale-flows.ts';

const FRONT = { name: 'ts-front', subnet: '10.128.1.0/24', internal: false };
const INNER = { name: 'ts-inner', subnet: '10.128.2.0/24', internal: true };

function forward(port: number, ...backends: readonly string[]): PortForward {
  return { protocol: 'tcp', hostIp: '', port, backends: backends.map((ipv4) => ({ ipv4, port: 80 })) };
}

function rules(change: Partial<Ruleset>): Ruleset {
  return { ...EMPTY_RULESET, ...change };
}

describe('nftables rules', () => {
  const cases: readonly (readonly [string, Partial<Ruleset>, Partial<Ruleset>, readonly string[]])[] = [
    ['nothing changes', { bridges: [FRONT] }, { bridges: [{ ...FRONT }] }, ['']],
    [
      'a bridge comes',
      {},
      { bridges: [FRONT] },
      [
        'add element ip t bridges { "ts-front" }',
        'add element ip t same { "ts-front" . "ts-front" }',
        'add element ip t inside { "ts-front" . 10.128.1.0/24 }',
        'add element ip t subnets { 10.128.1.0/24 }',
        'add element ip t outgoing { 10.128.1.0/24 }',
      ],
    ],
    [
      'a bridge becomes internal',
      { bridges: [FRONT] },
      { bridges: [{ ...FRONT, internal: true }] },
      ['delete element ip t outgoing { 10.128.1.0/24 }', 'add element ip t internal { "ts-front" }'],
    ],
    [
      'one of two bridges goes',
      { bridges: [FRONT, INNER] },
      { bridges: [FRONT] },
      [
        'delete element ip t bridges { "ts-inner" }',
        'delete element ip t same { "ts-inner" . "ts-inner" }',
        'delete element ip t inside { "ts-inner" . 10.128.2.0/24 }',
        'delete element ip t subnets { 10.128.2.0/24 }',
        'delete element ip t internal { "ts-inner" }',
      ],
    ],
    ['cards stay apart', {}, { hardware: ['eth0', 'eth1'] }, ['add element ip t hardware { "eth0", "eth1" }']],
  ];
  for (const [title, before, wanted, expected] of cases)
    it(title, () => deepEqual(changeRules('t', rules(before), rules(wanted)).split('\n'), expected));

  it('name no table but ours', () => {
    const full = rules({ bridges: [FRONT, INNER], hardware: ['eth0'] });
    const scripts = [
      createRules('t', full),
      repairRules('t', full),
      changeRules('t', full, EMPTY_RULESET),
      removeRules('t'),
    ];
    for (const line of scripts.join('\n').split('\n'))
      match(line, /^(add|delete|flush) (table|chain|rule|set|map|element) ip t( |$)/);
  });
  it('of a fresh table flush only chains that hold nothing yet, and delete nothing', () => {
    doesNotMatch(createRules('t', rules({ bridges: [FRONT] })), /^(delete|flush (set|map))/m);
  });
  it('are repaired without a gap: emptied and filled in one script', () => {
    const script = repairRules('t', rules({ bridges: [FRONT] }));
    match(script, /flush set ip t bridges\n(.*\n)*add element ip t bridges/);
  });
  it('leave published ports as they are', () => {
    doesNotMatch(repairRules('t', rules({ bridges: [FRONT] })), /(flush|element).*_(ports|backends)/);
  });
});

describe('UDP ports whose flows must be looked at', () => {
  const udp = (port: number, ...backends: readonly string[]): PortForward => ({
    ...forward(port, ...backends),
    protocol: 'udp',
  });
  for (const [title, before, now, expected] of [
    ['a new one', [], [udp(53, '10.0.0.2')], [53]],
    ['one that goes', [udp(53, '10.0.0.2')], [], [53]],
    ['one with another backend', [udp(53, '10.0.0.2')], [udp(53, '10.0.0.3')], [53]],
    ['none that stays', [udp(53, '10.0.0.2')], [udp(53, '10.0.0.2')], []],
    ['none of TCP', [], [forward(53, '10.0.0.2')], []],
  ] as const)
    it(title, () => deepEqual(changedUdpPorts(before, now), expected));
  it('one with two addresses counts once', () =>
    equal(changedUdpPorts([], [udp(53, '10.0.0.2'), { ...udp(53, '10.0.0.2'), hostIp: '127.0.0.1' }]).length, 1));
});
