/** The keys of the encrypted way: which of its own and of a peer's keys a node sends by, and what its links are told. Pure. */
import type { NodeId } from '../../../base/ids.ts';
import type { SecureKey, SecurePeer, SecureRequest, SecureSession, SecureSlot } from '../../../node-engine/types.ts';
import type { NodeOverlay, OverlayPeer } from '../../../proto/types/index.ts';

/** Where the link of a slot is: its port, from that of VXLAN on, and its subnet, from a node's address in the mesh on. */
const SLOTS = {
  /** 169.254.64.0/18 */
  main: { ports: 1, distance: 128, prefix: 18 },
  /** 169.254.128.0/19, beside what clouds have at 169.254.169–170: half of the nodes that the mesh has room for. */
  alternate: { ports: 3, distance: 64, prefix: 19 },
} as const satisfies Record<SecureSlot, object>;
const FIRST_OF_MESH = 192;

/** A key of another node, and that node's address that goes with it. */
export interface PeerKey extends SecureKey {
  readonly address: string;
}

/** What a node knows of itself when it chooses. */
export interface SecureSelf {
  /** Keys that its links have, the oldest first. */
  readonly keys: readonly SecureKey[];
  /** Keys that it has others use, the oldest first: all of them, or the newest alone. */
  readonly told: readonly SecureKey[];
  readonly sessions: readonly SecureSession[];
}

export const isProven = (sessions: readonly SecureSession[], slot: SecureSlot, publicKey: string): boolean =>
  sessions.some((session) => session.slot === slot && session.publicKey === publicKey && session.isProven);

export const otherSlot = (slot: SecureSlot): SecureSlot => (slot === 'main' ? 'alternate' : 'main');

/** A node's address in the encrypted way follows from the one in the mesh; undefined: there is none for it. */
export function secureAddress(meshAddress: string | undefined, slot: SecureSlot): string | undefined {
  const [a, b, c, d] = (meshAddress ?? '').split('.').map(Number);
  if (c === undefined || d === undefined) return undefined;
  const { distance, prefix } = SLOTS[slot];
  return c - FIRST_OF_MESH >= 2 ** (24 - prefix) ? undefined : [a, b, c - distance, d].join('.');
}

/** What a node says of itself, with its keys. */
export function withKeys(overlay: NodeOverlay, keys: readonly SecureKey[]): NodeOverlay {
  const main = keys.find(({ slot }) => slot === 'main');
  const alternate = keys.find(({ slot }) => slot === 'alternate');
  return {
    ...overlay,
    ...(main === undefined ? {} : { publicKey: main.publicKey, keyMadeAt: main.madeAt }),
    ...(alternate === undefined ? {} : { alternateKey: alternate.publicKey, alternateKeyMadeAt: alternate.madeAt }),
  };
}

/** A node that has a key and does not say since when is of a version that does not rotate keys, and knows of one link alone. */
export const isOfOldVersion = ({ publicKey, keyMadeAt }: NodeOverlay): boolean =>
  publicKey !== undefined && keyMadeAt === undefined;

/** A node's keys, the oldest first; none: it has no encrypted networks. */
export function keysOf({ publicKey, keyMadeAt, alternateKey, alternateKeyMadeAt }: NodeOverlay): readonly SecureKey[] {
  const keys: SecureKey[] = [];
  if (publicKey !== undefined) keys.push({ slot: 'main', publicKey, madeAt: keyMadeAt ?? 0 });
  if (alternateKey !== undefined)
    keys.push({ slot: 'alternate', publicKey: alternateKey, madeAt: alternateKeyMadeAt ?? 0 });
  return keys.sort((one, other) => one.madeAt - other.madeAt);
}

export function peerKeys({ overlay, meshAddress }: OverlayPeer): readonly PeerKey[] {
  return keysOf(overlay).flatMap((key) => {
    const address = secureAddress(meshAddress, key.slot);
    return address === undefined ? [] : [{ ...key, address }];
  });
}

/**
 * By which link and to which of its keys a peer is sent to: the newest of both as soon as they have agreed on a session, which tells
 * that each knows the other's key and that the port is open; until then what is known to work, the newer the better, else the oldest.
 * Undefined: one of the two has no keys.
 */
export function choose(
  { told, sessions }: SecureSelf,
  theirs: readonly PeerKey[],
): { readonly slot: SecureSlot; readonly key: PeerKey } | undefined {
  const pairs = told.toReversed().flatMap(({ slot }) => theirs.toReversed().map((key) => ({ slot, key })));
  return pairs.find(({ slot, key }) => isProven(sessions, slot, key.publicKey)) ?? pairs.at(-1);
}

/** Whether the newest keys of both have been found to work. */
export function isSettled({ keys, sessions }: SecureSelf, theirs: readonly PeerKey[]): boolean {
  const [own, key] = [keys.at(-1), theirs.at(-1)];
  return own !== undefined && key !== undefined && isProven(sessions, own.slot, key.publicKey);
}

/**
 * The links of a node. A pair of newest keys is tried as long as one of them has a predecessor.
 * @param local address that packets come from
 * @param meshAddress the node's
 * @param port of VXLAN
 */
export function secureRequest(
  self: SecureSelf,
  { local, meshAddress, port }: { readonly local: string; readonly meshAddress: string; readonly port: number },
  peers: readonly OverlayPeer[],
): SecureRequest {
  const known = peers
    .map((peer) => ({ nodeId: peer.nodeId, endpoint: peer.overlay.address, keys: peerKeys(peer) }))
    .sort((one, other) => (one.nodeId < other.nodeId ? -1 : 1));
  const newest = self.keys.at(-1);
  const links = self.keys.flatMap(({ slot, publicKey: own }) => {
    const address = secureAddress(meshAddress, slot);
    if (address === undefined) return [];
    const ofLink = known.flatMap(({ endpoint, keys }): readonly SecurePeer[] =>
      keys.map((key) => ({
        publicKey: key.publicKey,
        endpoint,
        port: port + SLOTS[key.slot].ports,
        address: key.address,
        isTried: (self.keys.length > 1 || keys.length > 1) && own === newest?.publicKey && key === keys.at(-1),
      })),
    );
    return [{ slot, address: `${address}/${SLOTS[slot].prefix}`, port: port + SLOTS[slot].ports, peers: ofLink }];
  });
  const routes = known.flatMap(({ keys }) => {
    const chosen = choose(self, keys);
    return chosen === undefined ? [] : keys.map(({ address }) => ({ to: address, slot: chosen.slot }));
  });
  return { local, links, routes };
}

/**
 * What a link has to be told before tunnels change: the old peers are still sent to by what is there.
 * @param before undefined: nobody knows what there was
 */
export function withPeersOf(request: SecureRequest, before: SecureRequest | undefined): SecureRequest {
  if (before === undefined) return request;
  const links = request.links.map((link) => {
    const old = before.links.find(({ slot }) => slot === link.slot)?.peers ?? [];
    const isNews = ({ publicKey, address }: SecurePeer): boolean =>
      !link.peers.some((peer) => peer.publicKey === publicKey || peer.address === address);
    return { ...link, peers: [...link.peers, ...old.filter(isNews).map((peer) => ({ ...peer, isTried: false }))] };
  });
  const slots = new Set(links.map(({ slot }) => slot));
  const routes = before.routes.filter(
    ({ to, slot }) => slots.has(slot) && !request.routes.some((route) => route.to === to),
  );
  return { ...request, links, routes: [...request.routes, ...routes] };
}

/** What is received by a link from all its peers, bytes. */
export const receivedBy = (sessions: readonly SecureSession[], slot: SecureSlot): number =>
  sessions.reduce((sum, session) => sum + (session.slot === slot ? session.receivedBytes : 0), 0);

/** Peers whose newest key is not known to work together with this node's. */
export const unsettled = (self: SecureSelf, peers: readonly OverlayPeer[]): readonly NodeId[] =>
  peers.filter((peer) => !isSettled(self, peerKeys(peer))).map(({ nodeId }) => nodeId);

/** "a1b2c3d4e5f6": enough of a public key to tell it from others. */
export const fingerprint = (publicKey: string): string =>
  Buffer.from(publicKey, 'base64').subarray(0, 6).toString('hex');
