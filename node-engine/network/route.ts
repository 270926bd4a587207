/** Requests of rtnetlink (linux/rtnetlink.h, if_link.h, if_addr.h; rtnetlink(7)): links, addresses, routes. Pure. */
import { formatIpv4, parseIpv4 } from './address.ts';
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, attribute, attributes, nested, readText, readU32, text, u16, u32 } from './netlink.ts';

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
} as const;
const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_INET6 = 10;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
const IFF_UP = 1;
export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  GROUP: 27,
  NET_NS_FD: 28,
  EXT_MASK: 29,
} as const;
export const IFLA_INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const;
const VETH_INFO_PEER = 1;
const IFLA_BRPORT_MODE = 4;
const IFA = { ADDRESS: 1, LOCAL: 2, BROADCAST: 4 } as const;
const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PREFSRC: 7 } as const;
const RT_TABLE_MAIN = 254;
const RTPROT_KERNEL = 2;
const RTPROT_BOOT = 3;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
/** To a deletion: any. */
const RT_SCOPE_NOWHERE = 255;
const RTN_UNICAST = 1;
export const LINK_HEADER_BYTES = 16;
const ADDRESS_HEADER_BYTES = 8;
const ROUTE_HEADER_BYTES = 12;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly mtu: number;
  /** Index of the bridge it is a port of; 0: none. */
  readonly master: number;
  /** "bridge", "veth"; empty for hardware. */
  readonly kind: string;
  readonly alias: string;
  /** "02:42:0a:80:00:05" */
  readonly mac: string;
  /** Of one end of a pair: the index of the other, in the other's namespace; 0: none. */
  readonly peer: number;
  /** Number by which links can be marked together (ip-link(8), "group"); 0: none. */
  readonly group: number;
}

export interface Address {
  readonly linkIndex: number;
  readonly ipv4: string;
  readonly prefix: number;
}

/** What kind of link is meant, and what its kind alone has. */
export function linkInfo(kind: string, ...data: readonly Buffer[]): Buffer {
  const own = data.length === 0 ? [] : [nested(IFLA_INFO.DATA, ...data)];
  return nested(IFLA.LINKINFO, attribute(IFLA_INFO.KIND, text(kind)), ...own);
}

/** What a link has as a port of a bridge. */
export function bridgePortInfo(...data: readonly Buffer[]): Buffer {
  return nested(IFLA.LINKINFO, attribute(IFLA_INFO.SLAVE_KIND, text('bridge')), nested(IFLA_INFO.SLAVE_DATA, ...data));
}

/** A bridge with a fixed hardware address (else it would change with its ports, and neighbours would miss it). */
export function createBridge(name: string, mac: string, mtu: number): NetlinkMessage {
  return {
    what: `make the bridge "${name}"`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      linkHeader(0, 0),
      attribute(IFLA.IFNAME, text(name)),
      attribute(IFLA.ADDRESS, macBytes(mac)),
      attribute(IFLA.MTU, u32(mtu)),
      linkInfo('bridge'),
    ]),
    tolerate: ['EEXIST'],
  };
}

export interface VethRequest {
  /** Of the end in the namespace where the request runs; must be free there. */
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  readonly mtu: number;
  /** See Link. */
  readonly group: number;
  readonly peerName: string;
  /** An open descriptor of the namespace for the other end. */
  readonly peerNetns: number;
}

/** A pair of interfaces, of which this end is up. It is asked for in the container's namespace so that its index there can be chosen. */
export function createVeth(request: VethRequest): NetlinkMessage {
  const peer = Buffer.concat([
    // Not up yet: the driver refuses that while the two are not joined (ENOTCONN).
    linkHeader(0, 0, 0),
    attribute(IFLA.IFNAME, text(request.peerName)),
    attribute(IFLA.MTU, u32(request.mtu)),
    attribute(IFLA.NET_NS_FD, u32(request.peerNetns)),
  ]);
  return {
    what: `make the interface "${request.name}"`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      linkHeader(request.index, IFF_UP),
      attribute(IFLA.IFNAME, text(request.name)),
      attribute(IFLA.ADDRESS, macBytes(request.mac)),
      attribute(IFLA.MTU, u32(request.mtu)),
      attribute(IFLA.GROUP, u32(request.group)),
      linkInfo('veth', attribute(VETH_INFO_PEER, peer)),
    ]),
  };
}

/** Sets properties of a link that exists and takes it up. @param link its name or index */
export function setLink(
  link: string | number,
  properties: { readonly master?: number; readonly alias?: string; readonly mtu?: number },
): NetlinkMessage {
  const { master, alias, mtu } = properties;
  return {
    what: `set up the interface "${link}"`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK,
    body: Buffer.concat([
      linkHeader(typeof link === 'number' ? link : 0, IFF_UP),
      ...(typeof link === 'string' ? [attribute(IFLA.IFNAME, text(link))] : []),
      ...(master === undefined ? [] : [attribute(IFLA.MASTER, u32(master))]),
      ...(mtu === undefined ? [] : [attribute(IFLA.MTU, u32(mtu))]),
      ...(alias === undefined ? [] : [attribute(IFLA.IFALIAS, Buffer.from(alias))]),
    ]),
  };
}

/**
 * Lets the bridge send a frame back out of the port it came from. A container that calls its own published port needs it
 * where net.bridge.bridge-nf-call-iptables is on: the address is then translated inside the bridge.
 */
export function setHairpin(port: string): NetlinkMessage {
  return {
    what: `set the hairpin mode of "${port}"`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK,
    body: Buffer.concat([
      linkHeader(0, 0, 0),
      attribute(IFLA.IFNAME, text(port)),
      bridgePortInfo(attribute(IFLA_BRPORT_MODE, Buffer.from([1]))),
    ]),
  };
}

/**
 * The link makes no IPv6 address for itself when it comes up. On a port of a bridge nobody asks for one, but the kernel would look
 * for others that have it and join groups: some packets for each port, each of them to all other ports.
 */
export function setNoLinkLocal(link: string): NetlinkMessage {
  return {
    what: `keep the interface "${link}" from making an address`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK,
    body: Buffer.concat([
      linkHeader(0, 0, 0),
      attribute(IFLA.IFNAME, text(link)),
      nested(
        IFLA.AF_SPEC,
        nested(AF_INET6, attribute(IFLA_INET6_ADDR_GEN_MODE, Buffer.from([IN6_ADDR_GEN_MODE_NONE]))),
      ),
    ]),
    // A kernel without IPv6.
    tolerate: ['EAFNOSUPPORT', 'EOPNOTSUPP'],
  };
}

/** Gives a link another hardware address, while it is up. */
export function setMac(linkIndex: number, mac: string): NetlinkMessage {
  return {
    what: `give the hardware address ${mac}`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK,
    body: Buffer.concat([linkHeader(linkIndex, 0, 0), attribute(IFLA.ADDRESS, macBytes(mac))]),
  };
}

/** Takes a link down: nothing passes any more. */
export function setLinkDown(name: string): NetlinkMessage {
  return {
    what: `take the interface "${name}" down`,
    type: RTM.NEWLINK,
    flags: NLM_F.ACK,
    body: Buffer.concat([linkHeader(0, 0), attribute(IFLA.IFNAME, text(name))]),
    tolerate: ['ENODEV'],
  };
}

export function deleteLink(name: string): NetlinkMessage {
  return {
    what: `remove the interface "${name}"`,
    type: RTM.DELLINK,
    flags: NLM_F.ACK,
    body: Buffer.concat([linkHeader(0, 0, 0), attribute(IFLA.IFNAME, text(name))]),
    tolerate: ['ENODEV'],
  };
}

/** The link of that number, whatever it is called. */
export function deleteLinkAt(index: number): NetlinkMessage {
  return {
    what: `remove the interface ${index}`,
    type: RTM.DELLINK,
    flags: NLM_F.ACK,
    body: linkHeader(index, 0, 0),
    tolerate: ['ENODEV'],
  };
}

/** Leaves out statistics and SR-IOV's lists: a link is then 1 KiB instead of several. */
const RTEXT_FILTER_SKIP_STATS = 8;

/** One link; an unknown one is no failure but no reply. @param link its name or index */
export function getLink(link: string | number): NetlinkMessage {
  return {
    what: `look up the interface "${link}"`,
    type: RTM.GETLINK,
    flags: 0,
    body: Buffer.concat([
      linkHeader(typeof link === 'number' ? link : 0, 0, 0),
      ...(typeof link === 'string' ? [attribute(IFLA.IFNAME, text(link))] : []),
      attribute(IFLA.EXT_MASK, u32(RTEXT_FILTER_SKIP_STATS)),
    ]),
    tolerate: ['ENODEV'],
  };
}

export function listLinks(): NetlinkMessage {
  return {
    what: 'list the interfaces',
    type: RTM.GETLINK,
    flags: NLM_F.DUMP,
    body: Buffer.concat([linkHeader(0, 0, 0), attribute(IFLA.EXT_MASK, u32(RTEXT_FILTER_SKIP_STATS))]),
  };
}

export function listAddresses(): NetlinkMessage {
  return {
    what: 'list the addresses',
    type: RTM.GETADDR,
    flags: NLM_F.DUMP,
    body: addressHeader(0, 0),
  };
}

export function addAddress(address: Address): NetlinkMessage {
  const local = u32be(parseIpv4(address.ipv4));
  const hostBits = address.prefix >= 31 ? 0 : 2 ** (32 - address.prefix) - 1;
  return {
    what: `give the address ${address.ipv4}/${address.prefix}`,
    type: RTM.NEWADDR,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([
      addressHeader(address.prefix, address.linkIndex),
      attribute(IFA.LOCAL, local),
      attribute(IFA.ADDRESS, local),
      attribute(IFA.BROADCAST, u32be((parseIpv4(address.ipv4) | hostBits) >>> 0)),
    ]),
  };
}

export function deleteAddress(address: Address): NetlinkMessage {
  return {
    what: `take the address ${address.ipv4}/${address.prefix} away`,
    type: RTM.DELADDR,
    flags: NLM_F.ACK,
    body: Buffer.concat([
      addressHeader(address.prefix, address.linkIndex),
      attribute(IFA.LOCAL, u32be(parseIpv4(address.ipv4))),
    ]),
    tolerate: ['EADDRNOTAVAIL'],
  };
}

/** The default route; one that is there already is replaced. */
export function setDefaultRoute(gateway: string, linkIndex: number): NetlinkMessage {
  return {
    what: `route by ${gateway}`,
    type: RTM.NEWROUTE,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([
      Buffer.from([AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST]),
      u32(0),
      attribute(RTA.GATEWAY, u32be(parseIpv4(gateway))),
      attribute(RTA.OIF, u32(linkIndex)),
    ]),
  };
}

/** Routes of the main table and the kernel's own. */
export function listRoutes(): NetlinkMessage {
  return {
    what: 'list the routes',
    type: RTM.GETROUTE,
    flags: NLM_F.DUMP,
    body: Buffer.from([AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
  };
}

export interface Route {
  readonly linkIndex: number;
  /** "10.128.0.0/24"; "0.0.0.0/0": the default route. */
  readonly destination: string;
  /** Empty: what is there is reached directly. */
  readonly gateway: string;
}

/** The IPv4 routes of the main table among the replies. */
export function routesOf(replies: readonly NetlinkReply[]): readonly Route[] {
  return replies
    .filter(({ type, body }) => type === RTM.NEWROUTE && body[0] === AF_INET && body[4] === RT_TABLE_MAIN)
    .map(({ body }) => {
      const found = attributes(body, ROUTE_HEADER_BYTES);
      const address = (value: Buffer | undefined): string => formatIpv4((value ?? Buffer.alloc(4)).readUInt32BE(0));
      const oif = found.get(RTA.OIF);
      const gateway = found.get(RTA.GATEWAY);
      return {
        linkIndex: oif === undefined ? 0 : readU32(oif, 0),
        destination: `${address(found.get(RTA.DST))}/${body[1] ?? 0}`,
        gateway: gateway === undefined ? '' : address(gateway),
      };
    });
}

/** The route to a subnet that a link is on: as the kernel makes it for an address. @param address of the link in it */
export function setSubnetRoute({ linkIndex, ipv4, prefix }: Address): NetlinkMessage {
  const mask = prefix === 0 ? 0 : (~0 << (32 - prefix)) >>> 0;
  return {
    what: `route to the network of ${ipv4}/${prefix}`,
    type: RTM.NEWROUTE,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([
      Buffer.from([AF_INET, prefix, 0, 0, RT_TABLE_MAIN, RTPROT_KERNEL, RT_SCOPE_LINK, RTN_UNICAST]),
      u32(0),
      attribute(RTA.DST, u32be((parseIpv4(ipv4) & mask) >>> 0)),
      attribute(RTA.PREFSRC, u32be(parseIpv4(ipv4))),
      attribute(RTA.OIF, u32(linkIndex)),
    ]),
  };
}

/** The route to one address that is on a link, from one that is the node's; one that is there already is replaced. */
export function setHostRoute(to: string, from: string, linkIndex: number): NetlinkMessage {
  return {
    what: `route to ${to}`,
    type: RTM.NEWROUTE,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([
      hostRouteHeader(RT_SCOPE_LINK),
      attribute(RTA.DST, u32be(parseIpv4(to))),
      attribute(RTA.PREFSRC, u32be(parseIpv4(from))),
      attribute(RTA.OIF, u32(linkIndex)),
    ]),
  };
}

export function deleteHostRoute(to: string, linkIndex: number): NetlinkMessage {
  return {
    what: `no longer route to ${to}`,
    type: RTM.DELROUTE,
    flags: NLM_F.ACK,
    body: Buffer.concat([
      hostRouteHeader(RT_SCOPE_NOWHERE),
      attribute(RTA.DST, u32be(parseIpv4(to))),
      attribute(RTA.OIF, u32(linkIndex)),
    ]),
    tolerate: ['ESRCH'],
  };
}

function hostRouteHeader(scope: number): Buffer {
  return Buffer.concat([Buffer.from([AF_INET, 32, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST]), u32(0)]);
}

/** The default route, to whoever is on the link; one that is there already is replaced. */
export function setDeviceRoute(linkIndex: number): NetlinkMessage {
  return {
    what: 'route by the interface itself',
    type: RTM.NEWROUTE,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([
      Buffer.from([AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_LINK, RTN_UNICAST]),
      u32(0),
      attribute(RTA.OIF, u32(linkIndex)),
    ]),
  };
}

/** The links among the replies. */
export function linksOf(replies: readonly NetlinkReply[]): readonly Link[] {
  return replies
    .filter((reply) => reply.type === RTM.NEWLINK)
    .map(({ body }) => {
      const found = attributes(body, LINK_HEADER_BYTES);
      const info = attributes(found.get(IFLA.LINKINFO) ?? Buffer.alloc(0), 0);
      const number = (value: Buffer | undefined): number => (value === undefined ? 0 : readU32(value, 0));
      return {
        index: readU32(body, 4),
        name: readText(found.get(IFLA.IFNAME)),
        up: (readU32(body, 8) & IFF_UP) !== 0,
        mtu: number(found.get(IFLA.MTU)),
        master: number(found.get(IFLA.MASTER)),
        kind: readText(info.get(IFLA_INFO.KIND)),
        alias: readText(found.get(IFLA.IFALIAS)),
        peer: number(found.get(IFLA.LINK)),
        group: number(found.get(IFLA.GROUP)),
        mac: (found.get(IFLA.ADDRESS) ?? Buffer.alloc(0)).toString('hex').replace(/..(?=.)/g, '$&:'),
      };
    });
}

/** The IPv4 addresses among the replies. */
export function addressesOf(replies: readonly NetlinkReply[]): readonly Address[] {
  return replies
    .filter((reply) => reply.type === RTM.NEWADDR && reply.body[0] === AF_INET)
    .map(({ body }) => {
      const found = attributes(body, ADDRESS_HEADER_BYTES);
      const local = found.get(IFA.LOCAL) ?? found.get(IFA.ADDRESS) ?? Buffer.alloc(4);
      return { linkIndex: readU32(body, 4), ipv4: formatIpv4(local.readUInt32BE(0)), prefix: body[1] ?? 0 };
    });
}

/** struct ifinfomsg. @param change which flags are to be set as in `flags`: all that we use, or none */
export function linkHeader(index: number, flags: number, change: number = IFF_UP): Buffer {
  return Buffer.concat([Buffer.from([AF_UNSPEC, 0]), u16(0), u32(index), u32(flags), u32(change)]);
}

/** struct ifaddrmsg */
function addressHeader(prefix: number, linkIndex: number): Buffer {
  return Buffer.concat([Buffer.from([AF_INET, prefix, 0, 0]), u32(linkIndex)]);
}

export function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

function u32be(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
}
