/** Requests of rtnetlink for VXLAN devices (linux/if_link.h; RFC 7348) that are ports of bridges. Pure. */
import { isIPv6 } from 'node:net';
import { formatIpBytes, ipBytes } from '../../base/ip-address.ts';
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, attribute, attributes, readText, readU32, text, u32 } from './netlink.ts';
import { IFLA, IFLA_INFO, LINK_HEADER_BYTES, RTM, bridgePortInfo, linkHeader, linkInfo, macBytes } from './route.ts';

const VXLAN = { ID: 1, LINK: 3, LOCAL: 4, TTL: 5, LEARNING: 7, PORT: 15, LOCAL6: 17, UDP_CSUM: 18 } as const;
const BRPORT = {
  LEARNING: 8,
  UNICAST_FLOOD: 9,
  MCAST_FLOOD: 27,
  BCAST_FLOOD: 30,
  NEIGH_SUPPRESS: 32,
} as const;
const TTL = 64;

/** A VXLAN device as it is, or shall be. */
export interface VxlanDevice {
  readonly name: string;
  readonly vni: number;
  /** UDP. */
  readonly port: number;
  /** Where its packets come from; empty: whatever the route says. */
  readonly local: string;
  readonly mtu: number;
  /** Index of the only link that its packets take; absent: any. The device goes when that link goes. */
  readonly by?: number;
  /** Absent: the kernel's choice. */
  readonly mac?: string;
}

/** A device that learns nothing: it sends only where it was told to. UDP checksums are kept, so that segments stay whole across it. */
export function createVxlan({ name, vni, port, local, mtu, by, mac }: VxlanDevice): NetlinkMessage {
  return {
    what: `make the tunnel "${name}" (VXLAN ${vni}, UDP port ${port})`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      linkHeader(0, 0),
      attribute(IFLA.IFNAME, text(name)),
      ...(mac === undefined ? [] : [attribute(IFLA.ADDRESS, macBytes(mac))]),
      attribute(IFLA.MTU, u32(mtu)),
      linkInfo(
        'vxlan',
        attribute(VXLAN.ID, u32(vni)),
        ...(by === undefined ? [] : [attribute(VXLAN.LINK, u32(by))]),
        ...localAttribute(local),
        attribute(VXLAN.TTL, byte(TTL)),
        attribute(VXLAN.LEARNING, byte(0)),
        attribute(VXLAN.PORT, be16(port)),
        attribute(VXLAN.UDP_CSUM, byte(1)),
      ),
    ]),
  };
}

/** Changes where packets come from; what is under way goes on. Only from an IPv4 address to another. */
export function setVxlanLocal(name: string, local: string): NetlinkMessage {
  return {
    what: `change the address of the tunnel "${name}" to ${local}`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK,
    body: Buffer.concat([
      linkHeader(0, 0, 0),
      attribute(IFLA.IFNAME, text(name)),
      linkInfo('vxlan', ...localAttribute(local)),
    ]),
  };
}

/**
 * Changes which link the device goes with, and leaves its packets' source to the route; what is under way goes on. Only for packets
 * over IPv4.
 */
export function bindVxlan(name: string, by: number): NetlinkMessage {
  return {
    what: `bind the tunnel "${name}" to another link`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK,
    body: Buffer.concat([
      linkHeader(0, 0, 0),
      attribute(IFLA.IFNAME, text(name)),
      linkInfo('vxlan', attribute(VXLAN.LINK, u32(by)), ...localAttribute('0.0.0.0')),
    ]),
  };
}

/** As a port of a bridge: nothing is learned from it or flooded into it, and who asks for a known address is answered here. */
export function setTunnelPort(name: string): NetlinkMessage {
  return {
    what: `set up the tunnel "${name}" as a port of its bridge`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK,
    body: Buffer.concat([
      linkHeader(0, 0, 0),
      attribute(IFLA.IFNAME, text(name)),
      bridgePortInfo(
        attribute(BRPORT.LEARNING, byte(0)),
        attribute(BRPORT.UNICAST_FLOOD, byte(0)),
        attribute(BRPORT.MCAST_FLOOD, byte(0)),
        attribute(BRPORT.BCAST_FLOOD, byte(0)),
        attribute(BRPORT.NEIGH_SUPPRESS, byte(1)),
      ),
    ]),
  };
}

/** What is particular to the VXLAN devices among the replies, by the link's index. */
export function vxlansOf(
  replies: readonly NetlinkReply[],
): ReadonlyMap<number, Pick<VxlanDevice, 'vni' | 'port' | 'local'> & { readonly by: number }> {
  const found = new Map<number, Pick<VxlanDevice, 'vni' | 'port' | 'local'> & { readonly by: number }>();
  for (const { type, body } of replies) {
    if (type !== RTM.NEWLINK) continue;
    const info = attributes(attributes(body, LINK_HEADER_BYTES).get(IFLA.LINKINFO) ?? Buffer.alloc(0), 0);
    if (readText(info.get(IFLA_INFO.KIND)) !== 'vxlan') continue;
    const data = attributes(info.get(IFLA_INFO.DATA) ?? Buffer.alloc(0), 0);
    const id = data.get(VXLAN.ID);
    const by = data.get(VXLAN.LINK);
    const local = data.get(VXLAN.LOCAL) ?? data.get(VXLAN.LOCAL6);
    found.set(readU32(body, 4), {
      vni: id === undefined ? 0 : readU32(id, 0),
      port: data.get(VXLAN.PORT)?.readUInt16BE(0) ?? 0,
      by: by === undefined ? 0 : readU32(by, 0),
      local: local === undefined || local.every((part) => part === 0) ? '' : formatIpBytes(local),
    });
  }
  return found;
}

function localAttribute(local: string): readonly Buffer[] {
  if (local === '') return [];
  return [attribute(isIPv6(local) ? VXLAN.LOCAL6 : VXLAN.LOCAL, ipBytes(local))];
}

const byte = (value: number): Buffer => Buffer.from([value]);

function be16(value: number): Buffer {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16BE(value);
  return buffer;
}
