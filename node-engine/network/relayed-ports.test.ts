import assert from 'node:assert/strict';
import type { PortForward } from '../types.ts';
import { losesIpv6, needsRelay, relayKey, relayPortOf, ruledForward } from './relayed-ports.ts';

const four = { ipv4: '10.0.0.2', port: 80 };
const six = { ...four, ipv6: 'fd00::2' };
const forward = (change: Partial<PortForward> = {}): PortForward => ({
  protocol: 'tcp',
  hostIp: '',
  port: 8080,
  backends: [four],
  ...change,
});

describe('ports that answer over IPv6 by a process', () => {
  const cases: readonly (readonly [string, Partial<PortForward>, boolean])[] = [
    ['on all addresses, of containers with IPv4', {}, true],
    ['over UDP', { protocol: 'udp' }, true],
    ['not over SCTP', { protocol: 'sctp' }, false],
    ['on all of IPv6', { hostIp: '::' }, true],
    ['on one address of IPv6', { hostIp: 'fd00::1' }, true],
    ['not on all of IPv4', { hostIp: '0.0.0.0' }, false],
    ['not on one address of IPv4', { hostIp: '127.0.0.1' }, false],
    ['not without a container', { backends: [] }, false],
    ['not where a container has IPv6', { backends: [four, six] }, false],
    ['not where callers are to be seen as they are', { keepsSource: true }, false],
  ];
  for (const [title, change, expected] of cases) it(title, () => assert.equal(needsRelay(forward(change)), expected));

  it('are told from those that only the wish to see callers takes it from', () => {
    assert.equal(losesIpv6(forward({ keepsSource: true })), true);
    assert.equal(losesIpv6(forward({ keepsSource: true, backends: [six] })), false);
    assert.equal(losesIpv6(forward()), false);
  });

  it('go on to the node’s own port, or to one of their own where IPv4 may have another', () => {
    assert.deepEqual(relayPortOf(forward()), { protocol: 'tcp', address: '::', port: 8080, target: '127.0.0.1' });
    assert.equal(ruledForward(forward()).hostIp, '');
    const all = forward({ hostIp: '::', meshBackends: [four], meshPort: 33_000 });
    const { target } = relayPortOf(all);
    assert.match(target, /^127\.(12[89]|1[3-8]\d|19[01])\.\d+\.\d+$/);
    assert.deepEqual(ruledForward(all), { ...all, hostIp: target });
    assert.equal(relayPortOf(forward({ hostIp: '0::0' })).target, target);
    assert.notEqual(relayPortOf(forward({ hostIp: '::1' })).target, target);
    assert.equal(ruledForward(forward({ hostIp: '::', backends: [six] })).hostIp, '::');
  });

  it('are the same however their address is written', () => {
    const key = (address: string): string => relayKey({ protocol: 'tcp', address, port: 80 });
    assert.equal(key('fd00::0:1'), key('FD00:0:0::1'));
    assert.notEqual(key('fd00::1'), key('fd00::2'));
  });
});
