import assert from 'node:assert/strict';
import type { SecurePeer } from '../types.ts';
import { formatSecureAlias, parseSecureAlias } from './names.ts';
import { peerChanges, sessionsOf } from './wireguard.ts';

const peer = (publicKey: string, change: Partial<SecurePeer> = {}): SecurePeer => ({
  publicKey,
  endpoint: '192.0.2.2',
  port: 4790,
  address: '169.254.64.2',
  isTried: false,
  ...change,
});
/** As wg(8) prints it: keys are shortened here. */
const DUMP = [
  'private\tpublic\t4790\toff',
  'a\t(none)\t192.0.2.2:4790\t169.254.64.2/32\t1700000000\t180\t272\toff',
  'b\t(none)\t[fd77::2]:4792\t169.254.128.2/32\t0\t0\t148\t5',
  '',
].join('\n');

describe('a link of the encrypted way', () => {
  it('shows with whom it has agreed on a session', () => {
    assert.deepEqual(sessionsOf('main', DUMP), [
      { slot: 'main', publicKey: 'a', isProven: true, receivedBytes: 180 },
      { slot: 'main', publicKey: 'b', isProven: false, receivedBytes: 0 },
    ]);
    assert.deepEqual(sessionsOf('main', 'private\tpublic\t4790\toff\n'), []);
  });

  it('is told what is new only, and first who goes', () => {
    const b = peer('b', { endpoint: 'fd77::2', port: 4792, address: '169.254.128.2', isTried: true });
    assert.deepEqual(peerChanges(DUMP, [peer('a'), b]), []);
    assert.deepEqual(peerChanges(DUMP, [peer('a'), { ...b, isTried: false }]), [
      ['peer', 'b', 'persistent-keepalive', 'off'],
    ]);
    assert.deepEqual(peerChanges(DUMP, [peer('a', { endpoint: '192.0.2.9' }), b]), [
      ['peer', 'a', 'endpoint', '192.0.2.9:4790'],
    ]);
    assert.deepEqual(peerChanges(DUMP, [peer('c'), b]), [
      ['peer', 'a', 'remove'],
      ['peer', 'c', 'endpoint', '192.0.2.2:4790', 'allowed-ips', '169.254.64.2/32'],
    ]);
  });

  it('has the time of its key written on it', () => {
    assert.equal(parseSecureAlias(formatSecureAlias('8610a31e', 1_700_000_000_000)), 1_700_000_000_000);
    assert.equal(parseSecureAlias('tsswarm 8610a31e network internal'), undefined);
  });
});
