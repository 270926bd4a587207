import assert from 'node:assert/strict';
import type { NodeId } from '../../../base/ids.ts';
import type { SecureKey, SecureSession } from '../../../node-engine/types.ts';
import type { NodeOverlay, OverlayPeer } from '../../../proto/types/index.ts';
import type { SecureSelf } from './keys.ts';
import { choose, keysOf, peerKeys, secureAddress, secureRequest, unsettled, withKeys, withPeersOf } from './keys.ts';

const own = (slot: SecureKey['slot'], madeAt: number): SecureKey => ({ slot, publicKey: `own-${slot}`, madeAt });
const [OLD, NEXT] = [own('main', 1), own('alternate', 2)];
const proven = (slot: SecureKey['slot'], publicKey: string): SecureSession => ({
  slot,
  publicKey,
  isProven: true,
  receivedBytes: 0,
});
const self = (keys: readonly SecureKey[], sessions: readonly SecureSession[] = [], told = keys): SecureSelf => ({
  keys,
  told,
  sessions,
});
const peer = (keys: Partial<NodeOverlay>): OverlayPeer => ({
  nodeId: 'n2' as NodeId,
  overlay: { address: '192.0.2.2', port: 4789, ...keys },
  meshAddress: '169.254.192.2',
});
const MAIN = { publicKey: 'a', keyMadeAt: 1 };
const ALTERNATE = { alternateKey: 'b', alternateKeyMadeAt: 2 };
const [ONE, TWO, OTHER] = [peer(MAIN), peer({ ...MAIN, ...ALTERNATE }), peer(ALTERNATE)];
const WHERE = { local: '192.0.2.1', meshAddress: '169.254.192.1', port: 4789 };
const chosen = (one: SecureSelf, other: OverlayPeer): string => {
  const found = choose(one, peerKeys(other));
  return found === undefined ? '' : `${found.slot} ${found.key.publicKey}`;
};

describe('the keys of the encrypted way', () => {
  it('are told and read, the oldest first', () => {
    const overlay = withKeys({ address: '192.0.2.1', port: 0 }, [
      { ...NEXT, madeAt: 1 },
      { ...OLD, madeAt: 5 },
    ]);
    assert.deepEqual(
      keysOf(overlay).map(({ slot }) => slot),
      ['alternate', 'main'],
    );
    assert.deepEqual(keysOf({ address: '', port: 0, publicKey: 'k' }), [{ slot: 'main', publicKey: 'k', madeAt: 0 }]);
  });

  it('have addresses of their own, apart from those of clouds', () => {
    assert.equal(secureAddress('169.254.192.1', 'main'), '169.254.64.1');
    assert.equal(secureAddress('169.254.192.1', 'alternate'), '169.254.128.1');
    assert.equal(secureAddress('169.254.223.255', 'alternate'), '169.254.159.255');
    assert.equal(secureAddress('169.254.224.0', 'alternate'), undefined);
    assert.equal(secureAddress('169.254.255.254', 'main'), '169.254.127.254');
    assert.equal(secureAddress(undefined, 'main'), undefined);
  });

  it('are used as soon as they are known to work, the newest of both first', () => {
    assert.equal(chosen(self([OLD]), ONE), 'main a');
    assert.equal(chosen(self([OLD]), TWO), 'main a');
    assert.equal(chosen(self([OLD], [proven('main', 'b')]), TWO), 'main b');
    assert.equal(chosen(self([OLD], [proven('main', 'a')]), OTHER), 'main b');
    assert.equal(chosen(self([OLD, NEXT], [proven('main', 'a')]), ONE), 'main a');
    assert.equal(chosen(self([OLD, NEXT], [proven('main', 'a'), proven('alternate', 'a')]), ONE), 'alternate a');
    const crossed = [proven('alternate', 'a'), proven('main', 'b'), proven('main', 'a')];
    assert.equal(chosen(self([OLD, NEXT], crossed), TWO), 'alternate a');
    assert.equal(chosen(self([OLD, NEXT], [], [NEXT]), TWO), 'alternate a');
    assert.equal(chosen(self([]), ONE), '');
    assert.equal(chosen(self([OLD]), peer({})), '');
  });

  it('are settled with a node when the newest of both work', () => {
    assert.deepEqual(unsettled(self([OLD, NEXT], [proven('alternate', 'a')]), [ONE]), []);
    assert.deepEqual(unsettled(self([OLD, NEXT], [proven('alternate', 'a')]), [TWO]), ['n2']);
    assert.deepEqual(unsettled(self([OLD, NEXT], [proven('main', 'b')]), [TWO]), ['n2']);
  });

  it('lead to each key of each other by its port and address, and try the newest pair while anything changes', () => {
    const { links, routes } = secureRequest(self([OLD, NEXT]), WHERE, [TWO]);
    assert.deepEqual(
      links.map(({ address, port }) => [address, port]),
      [
        ['169.254.64.1/18', 4790],
        ['169.254.128.1/19', 4792],
      ],
    );
    assert.deepEqual(
      links.map(({ peers }) => peers.map((one) => [one.publicKey, one.address, one.port, one.isTried])),
      [
        [
          ['a', '169.254.64.2', 4790, false],
          ['b', '169.254.128.2', 4792, false],
        ],
        [
          ['a', '169.254.64.2', 4790, false],
          ['b', '169.254.128.2', 4792, true],
        ],
      ],
    );
    assert.deepEqual(routes, [
      { to: '169.254.64.2', slot: 'main' },
      { to: '169.254.128.2', slot: 'main' },
    ]);
    const calm = secureRequest(self([OLD]), WHERE, [ONE]);
    assert.ok(calm.links.every(({ peers }) => peers.every(({ isTried }) => !isTried)));
  });

  it('are kept until the tunnels lead to others, but for what a new one takes over', () => {
    const before = secureRequest(self([OLD]), WHERE, [TWO]);
    const keysKept = (next: OverlayPeer) =>
      withPeersOf(secureRequest(self([OLD]), WHERE, [next]), before).links[0]?.peers.map((one) => one.publicKey);
    assert.deepEqual(keysKept(OTHER), ['b', 'a']);
    assert.deepEqual(keysKept(peer({ publicKey: 'c', keyMadeAt: 3, ...ALTERNATE })), ['b', 'c']);
    const request = secureRequest(self([OLD]), WHERE, [OTHER]);
    assert.equal(withPeersOf(request, undefined), request);
    assert.deepEqual(
      withPeersOf(request, before)
        .routes.map(({ to }) => to)
        .sort(),
      ['169.254.128.2', '169.254.64.2'],
    );
  });
});
