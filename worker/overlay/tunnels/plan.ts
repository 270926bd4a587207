/** Which tunnels a node shall have and what in them, and the way there from what it has. Pure. */
import type { NetworkId, NodeId } from '../../../base/ids.ts';
import { macOf } from '../../../node-engine/network/index.ts';
import { meshIpv6 } from '../../../base/mesh-address.ts';
import { isEncrypted } from '../../../base/network-driver.ts';
import type { SecureSlot, TunnelEntry, TunnelId, TunnelRequest } from '../../../node-engine/types.ts';
import type { Network, NodeOverlay, OverlayLocation, OverlayPeer } from '../../../proto/types/index.ts';
import type { SecureSelf } from './keys.ts';
import { choose, peerKeys, secureAddress } from './keys.ts';

/** Below those of networks. */
const MESH_VNI = 4095;
const MESH_PREFIX = 18;

/** What a node was told that tunnels are made of. */
export interface OverlayView {
  readonly networks: ReadonlyMap<string, Network>;
  readonly locations: ReadonlyMap<string, OverlayLocation>;
  readonly peers: ReadonlyMap<string, OverlayPeer>;
  /** Ports that are published on every node: nodes hand connections on to each other. */
  readonly ingress: { readonly size: number };
}

export interface OverlaySelf {
  readonly nodeId: NodeId;
  /** Undefined: others do not reach this node. */
  readonly overlay: NodeOverlay | undefined;
  /** Networks whose bridge is there. */
  readonly bridges: ReadonlySet<NetworkId>;
  /** Absent: the node has no encrypted networks. */
  readonly secure?: SecureSelf;
}

/** By the IPv4 address. */
export type Entries = ReadonlyMap<string, TunnelEntry>;

export interface WantedTunnel {
  readonly request: TunnelRequest;
  readonly entries: Entries;
}

/** A tunnel as it is in the kernel; without a request: of an earlier life, not looked at yet. */
export interface KnownTunnel {
  readonly request?: TunnelRequest;
  readonly entries: Entries;
}

export type Step =
  | { readonly kind: 'remove'; readonly id: TunnelId }
  | { readonly kind: 'ensure'; readonly id: TunnelId; readonly wanted: WantedTunnel }
  | {
      readonly kind: 'change';
      readonly id: TunnelId;
      readonly wanted: WantedTunnel;
      readonly remove: readonly TunnelEntry[];
      readonly put: readonly TunnelEntry[];
    };

/**
 * A network has a tunnel as soon as anything on it is on another node, and keeps it as long as its bridge: nothing is interrupted
 * when the last one leaves and the next one comes.
 * @param known tunnels that are there already
 */
export function wantedTunnels(
  view: OverlayView,
  self: OverlaySelf,
  known: ReadonlyMap<TunnelId, unknown>,
): ReadonlyMap<TunnelId, WantedTunnel> {
  const wanted = new Map<TunnelId, WantedTunnel>();
  const others = [...view.peers.values()].filter(({ nodeId }) => nodeId !== self.nodeId);
  const port = others[0]?.overlay.port ?? view.peers.get(self.nodeId)?.overlay.port ?? 0;
  if (self.overlay === undefined || port === 0) return wanted;
  const local = self.overlay.address;
  const secret = new Map(others.map((peer) => [peer.nodeId, targetOf(self.secure, peer)]));
  const bound = hasSecureAddress(view, self) ? boundSlot(self.secure) : undefined;
  const byNetwork = new Map<NetworkId, Map<string, TunnelEntry>>();
  for (const location of view.locations.values()) {
    const peer = location.nodeId === self.nodeId ? undefined : view.peers.get(location.nodeId);
    if (peer === undefined || !self.bridges.has(location.networkId)) continue;
    const to = isSecret(view.networks.get(location.networkId)) ? secret.get(peer.nodeId) : peer.overlay.address;
    if (to === undefined) continue;
    let entries = byNetwork.get(location.networkId);
    if (entries === undefined) byNetwork.set(location.networkId, (entries = new Map()));
    entries.set(location.ipv4, entryOf(location, to));
  }
  for (const id of self.bridges) {
    const network = view.networks.get(id);
    if (network?.vni === undefined || network.pendingDelete) continue;
    const entries = byNetwork.get(id) ?? new Map<string, TunnelEntry>();
    if (entries.size === 0 && !known.has(id)) continue;
    const request = { id, name: network.spec.name, vni: network.vni, port };
    if (!isSecret(network)) wanted.set(id, { request: { ...request, local }, entries });
    // Where its packets come from is said by the route to each node.
    else if (bound !== undefined) wanted.set(id, { request: { ...request, local: '', encrypted: bound }, entries });
  }
  const meshAddress = view.peers.get(self.nodeId)?.meshAddress;
  const neighbours = others.flatMap(({ overlay, meshAddress: ipv4 }): [string, TunnelEntry][] =>
    ipv4 === undefined ? [] : [[ipv4, { ipv4, ipv6: meshIpv6(ipv4), mac: macOf(ipv4), peer: overlay.address }]],
  );
  if (meshAddress !== undefined && neighbours.length > 0 && view.ingress.size > 0) {
    const address = `${meshAddress}/${MESH_PREFIX}`;
    const request = { id: 'mesh' as const, name: 'mesh', vni: MESH_VNI, port, local, address };
    wanted.set('mesh', { request, entries: new Map(neighbours) });
  }
  return wanted;
}

/** Nodes that the encrypted ones of the tunnels lead to, and the UDP port of VXLAN; undefined: none is encrypted. */
export function securePeers(
  view: OverlayView,
  { nodeId }: OverlaySelf,
  wanted: ReadonlyMap<TunnelId, WantedTunnel>,
): { readonly peers: readonly OverlayPeer[]; readonly port: number } | undefined {
  const secret = [...wanted.values()].filter(({ request }) => request.encrypted !== undefined);
  const [first] = secret;
  if (first === undefined) return undefined;
  const used = new Set(secret.flatMap(({ entries }) => [...entries.values()].map(({ peer }) => peer)));
  const peers = [...view.peers.values()].filter(
    (peer) => peer.nodeId !== nodeId && peerKeys(peer).some(({ address }) => used.has(address)),
  );
  return { peers, port: first.request.port };
}

const isSecret = (network: Network | undefined): boolean => network !== undefined && isEncrypted(network.spec.options);

/** Where packets to a node go that are encrypted; undefined: it cannot take part. */
const targetOf = (self: SecureSelf | undefined, peer: OverlayPeer): string | undefined =>
  self === undefined ? undefined : choose(self, peerKeys(peer))?.key.address;

/** The link that encrypted tunnels go with: the one that stays. */
const boundSlot = (self: SecureSelf | undefined): SecureSlot | undefined => self?.told[0]?.slot;

/** As others will reckon it: only a key of which they were told is one. */
function hasSecureAddress(view: OverlayView, { nodeId, secure }: OverlaySelf): boolean {
  const { meshAddress } = view.peers.get(nodeId) ?? {};
  return (secure?.keys ?? []).some(({ slot }) => secureAddress(meshAddress, slot) !== undefined);
}

/** Steps that make what is wanted of what is known, in their order. Nothing that stays is touched. */
export function planTunnels(
  known: ReadonlyMap<TunnelId, KnownTunnel>,
  wanted: ReadonlyMap<TunnelId, WantedTunnel>,
): readonly Step[] {
  const steps: Step[] = [];
  for (const id of known.keys()) if (!wanted.has(id)) steps.push({ kind: 'remove', id });
  for (const [id, tunnel] of wanted) {
    const is = known.get(id);
    if (is?.request === undefined || !sameRequest(is.request, tunnel.request))
      steps.push({ kind: 'ensure', id, wanted: tunnel });
    else {
      const change = changeOf(is.entries, tunnel.entries);
      if (change.remove.length + change.put.length > 0) steps.push({ kind: 'change', id, wanted: tunnel, ...change });
    }
  }
  return steps;
}

/** What is gone, and what is new or leads elsewhere. */
export function changeOf(
  before: Entries,
  after: Entries,
): { readonly remove: readonly TunnelEntry[]; readonly put: readonly TunnelEntry[] } {
  const remove = [...before].flatMap(([ip, entry]) => {
    const next = after.get(ip);
    // Only a change of the peer is made in place: of the rest something would be left.
    return next !== undefined && next.mac === entry.mac && next.ipv6 === entry.ipv6 ? [] : [entry];
  });
  const put = [...after].flatMap(([ip, entry]) => {
    const old = before.get(ip);
    const isSame = old?.mac === entry.mac && old.peer === entry.peer && old.ipv6 === entry.ipv6;
    return isSame ? [] : [entry];
  });
  return { remove, put };
}

/** What is new altogether. */
export function additionTo(before: Entries, after: Entries): ReturnType<typeof changeOf> {
  return { remove: [], put: [...after].flatMap(([ip, entry]) => (before.has(ip) ? [] : [entry])) };
}

/** The same entry for the same location, so that nothing is made of thousands that have not changed. */
const made = new WeakMap<OverlayLocation, TunnelEntry>();

function entryOf(location: OverlayLocation, peer: string): TunnelEntry {
  const known = made.get(location);
  if (known?.peer === peer) return known;
  const { ipv4, ipv6, macAddress } = location;
  const entry = { ipv4, ...(ipv6 === undefined ? {} : { ipv6 }), mac: macAddress ?? macOf(ipv4), peer };
  made.set(location, entry);
  return entry;
}

function sameRequest(one: TunnelRequest, other: TunnelRequest): boolean {
  const isSame = one.vni === other.vni && one.port === other.port && one.local === other.local;
  return isSame && one.address === other.address && one.encrypted === other.encrypted;
}
