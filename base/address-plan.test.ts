import { equal } from 'node:assert/strict';
import type { AddressPlan, InterfacePlan } from './address-plan.ts';
import { interfaceFault, planFault } from './address-plan.ts';

const EMPTY: AddressPlan = { subnet: '', gateway: '', ipRange: '', auxiliary: {} };

describe('addresses of a network', () => {
  for (const [plan, family, expected] of [
    [{}, 4, undefined],
    [
      { subnet: '10.1.0.0/16', gateway: '10.1.0.9', ipRange: '10.1.128.0/17', auxiliary: { a: '10.1.0.1' } },
      4,
      undefined,
    ],
    [{ subnet: 'fd00::/64', gateway: 'fd00::9', ipRange: 'fd00::/80', auxiliary: { a: 'fd00::2' } }, 6, undefined],
    [{ gateway: '10.1.0.1' }, 4, 'gateway'],
    [{ ipRange: '10.1.0.0/24' }, 4, 'ipRange'],
    [{ auxiliary: { a: '10.1.0.1' } }, 4, 'auxiliary'],
    [{ subnet: '10.1.0.0' }, 4, 'subnet'],
    [{ subnet: '10.1.0.0/31' }, 4, 'subnet'],
    [{ subnet: 'fd00::/64' }, 4, 'subnet'],
    [{ subnet: 'fd00::/127' }, 6, 'subnet'],
    [{ subnet: '10.1.0.0/24', gateway: '10.1.1.1' }, 4, 'gateway'],
    [{ subnet: '10.1.0.0/24', gateway: 'fd00::1' }, 4, 'gateway'],
    [{ subnet: '10.1.0.0/24', ipRange: '10.1.0.0/16' }, 4, 'ipRange'],
    [{ subnet: '10.1.0.0/24', ipRange: '10.1.1.0/25' }, 4, 'ipRange'],
    [{ subnet: '10.1.0.0/24', auxiliary: { a: '10.2.0.1' } }, 4, 'auxiliary'],
  ] as const)
    it(`${JSON.stringify(plan)} ${expected === undefined ? 'can be' : `cannot be for the ${expected}`}`, () =>
      equal(planFault({ ...EMPTY, ...plan }, family)?.field, expected));
});

describe('the interface of a container', () => {
  for (const [plan, expected] of [
    [{}, undefined],
    [
      { ipv4Address: '10.1.2.3', ipv6Address: 'fd00::3', macAddress: '02:42:AC:11:65:43', interfaceName: 'lan0.5' },
      undefined,
    ],
    [{ ipv4Address: '10.1.2' }, 'ipv4Address'],
    [{ ipv4Address: 'fd00::1' }, 'ipv4Address'],
    [{ ipv6Address: '10.1.2.3' }, 'ipv6Address'],
    [{ macAddress: '02-42-ac-11-65-43' }, 'macAddress'],
    [{ macAddress: '01:42:ac:11:65:43' }, 'macAddress'],
    [{ macAddress: '00:00:00:00:00:00' }, 'macAddress'],
    [{ interfaceName: 'lo' }, 'interfaceName'],
    [{ interfaceName: 'sixteen-letters-' }, 'interfaceName'],
    [{ interfaceName: 'a/b' }, 'interfaceName'],
  ] as const satisfies readonly (readonly [Partial<InterfacePlan>, string | undefined])[])
    it(`${JSON.stringify(plan)} ${expected === undefined ? 'can be' : `cannot be for its ${expected}`}`, () =>
      equal(interfaceFault({ ipv4Address: '', ...plan })?.field, expected));
});
