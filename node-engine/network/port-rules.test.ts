import assert from 'node:assert/strict';
import type { PortForward } from '../types.ts';
import { changePorts, inOrderOf, wholePorts } from './port-rules.ts';

const many = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => `10.0.${index >> 7}.${(index & 127) + 1}`);
const forward = (port: number, ...backends: readonly string[]): PortForward => ({
  protocol: 'tcp',
  hostIp: '',
  port,
  backends: backends.map((ipv4) => ({ ipv4, port: 80 })),
});
const steps = (before: readonly PortForward[], next: readonly PortForward[]): readonly string[] =>
  changePorts('t', before, inOrderOf(before, next)).map(({ what }) => what);
const bytes = (before: readonly PortForward[], next: readonly PortForward[]): number =>
  changePorts('t', before, inOrderOf(before, next)).reduce((sum, { body }) => sum + body.length, 0);

describe('the rules of published ports', () => {
  const [BEGIN, END] = ['change the rules', 'change the rules'];
  const cases: readonly (readonly [string, readonly PortForward[], readonly PortForward[], readonly string[]])[] = [
    ['nothing changes', [forward(80, '10.0.0.2')], [forward(80, '10.0.0.2')], []],
    ['a port has no backend: no rule', [], [forward(80)], []],
    [
      'ports come',
      [],
      [forward(80, '10.0.0.2'), { ...forward(81, '10.0.0.2'), hostIp: '127.0.0.1', protocol: 'udp' }],
      [
        'make the chain "any_1"',
        'make a rule of the chain "any_1"',
        'make the chain "exact_1"',
        'make a rule of the chain "exact_1"',
        END,
        BEGIN,
        'add to the map "any_ports"',
        'add to the map "any_backends"',
        'add to the map "exact_ports"',
        'add to the map "exact_backends"',
      ],
    ],
    [
      'a backend changes: one entry',
      [forward(80, '10.0.0.2')],
      [forward(80, '10.0.0.3')],
      ['take from the map "any_backends"', 'add to the map "any_backends"'],
    ],
    [
      'a second backend comes',
      [forward(80, '10.0.0.2')],
      [forward(80, '10.0.0.2', '10.0.0.3')],
      [
        'make the chain "any_2"',
        'make a rule of the chain "any_2"',
        'make a rule of the chain "any_2"',
        END,
        BEGIN,
        'take from the map "any_ports"',
        'add to the map "any_ports"',
        'add to the map "any_backends"',
        'remove the chain "any_1"',
      ],
    ],
    [
      'one of two ports goes: the other is not touched',
      [forward(80, '10.0.0.2', '10.0.0.3'), forward(81, '10.0.0.2', '10.0.0.3')],
      [forward(81, '10.0.0.2', '10.0.0.3')],
      ['take from the map "any_ports"', 'take from the map "any_backends"'],
    ],
    [
      'other nodes hand over: to backends of this node',
      [forward(80, '169.254.192.2')],
      [{ ...forward(80, '169.254.192.2'), meshBackends: [{ ipv4: '10.0.0.2', port: 8080 }] }],
      [
        'make the chain "mesh_1"',
        'make a rule of the chain "mesh_1"',
        END,
        BEGIN,
        'add to the map "mesh_ports"',
        'add to the map "mesh_backends"',
      ],
    ],
  ];
  for (const [title, before, next, expected] of cases)
    it(title, () => assert.deepEqual(steps(before, next), expected.length === 0 ? [] : [BEGIN, ...expected, END]));

  it('cost the same to change with 10 backends and with 1,000', () => {
    for (const change of [
      (all: readonly string[]) => [...all, '10.9.9.9'],
      (all: readonly string[]) => all.slice(1),
      (all: readonly string[]) => ['10.9.9.9', ...all.slice(1)],
    ]) {
      const ports = (count: number): readonly [PortForward[], PortForward[]] => [
        [forward(80, ...many(count))],
        [forward(80, ...change(many(count)))],
      ];
      assert.equal(steps(...ports(1000)).length, steps(...ports(10)).length);
      // The names of chains are longer: any_1001.
      assert.ok(bytes(...ports(1000)) - bytes(...ports(10)) <= 40);
    }
  });

  it('of which one counts twice are as many', () => {
    const twice = forward(80, '169.254.192.2', '169.254.192.2', '10.0.0.2');
    assert.ok(steps([], [twice]).includes('make the chain "any_3"'));
    assert.ok(steps([twice], [forward(80, '10.0.0.2', '169.254.192.2')]).includes('make the chain "any_2"'));
  });

  it('keep their callers: a backend that goes moves only its own', () => {
    const keeping = (...backends: readonly string[]): PortForward => ({
      ...forward(80, ...backends),
      affinity: 'client',
    });
    const [before, after] = [keeping('10.0.0.2', '10.0.0.3', '10.0.0.4'), keeping('10.0.0.2', '10.0.0.4')];
    assert.ok(steps([], [before]).includes('make the chain "any_keep"'));
    const moved = bytes([before], [after]) / bytes([before], [keeping('10.9.0.1', '10.9.0.2', '10.9.0.3')]);
    assert.ok(moved > 0.2 && moved < 0.5, `${moved} of what moves when all are others`);
  });

  it('are made anew without taking a chain away that packets may be in', () => {
    const found = wholePorts('t', [forward(80, '10.0.0.2')]).map(({ what }) => what);
    assert.ok(found.indexOf('empty the map "any_ports"') < found.indexOf('add to the map "any_ports"'));
    assert.ok(found.indexOf('empty the chain "any_1"') < found.indexOf('change the rules', 1));
    assert.ok(found.indexOf('empty the map "any_ports"') > found.indexOf('change the rules', 1));
    assert.ok(!found.some((what) => what.startsWith('remove')));
  });
});
