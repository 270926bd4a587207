/** Requests of rtnetlink for IPv6 (linux/if_addr.h; rtnetlink(7)): addresses and the default route. Pure. */
import { formatIpBytes, ipBytes } from '../../base/ip-address.ts';
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, attribute, attributes, readU32, u32 } from './netlink.ts';

const RTM = { NEWADDR: 20, DELADDR: 21, GETADDR: 22, NEWROUTE: 24 } as const;
const AF_INET6 = 10;
const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8 } as const;
/** No duplicate address detection: the allocator gives an address once, and a container need not wait a second for its own. */
const IFA_F_NODAD = 0x02;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RTA = { DESTINATION: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6 } as const;
const RT_TABLE_MAIN = 254;
const RT_TABLE_LOCAL = 255;
const RTN_LOCAL = 2;
const BEHIND_THE_KERNELS = 4096;
const RTPROT_BOOT = 3;
const RTN_UNICAST = 1;
const ADDRESS_HEADER_BYTES = 8;

export interface Ipv6Address {
  readonly linkIndex: number;
  readonly ipv6: string;
  readonly prefix: number;
}

export function listIpv6Addresses(): NetlinkMessage {
  return {
    what: 'list the IPv6 addresses',
    type: RTM.GETADDR,
    flags: NLM_F.DUMP,
    body: addressHeader(0, 0),
  };
}

export function addIpv6Address({ linkIndex, ipv6, prefix }: Ipv6Address): NetlinkMessage {
  const local = ipBytes(ipv6);
  return {
    what: `give the address ${ipv6}/${prefix}`,
    type: RTM.NEWADDR,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([
      addressHeader(prefix, linkIndex),
      attribute(IFA.LOCAL, local),
      attribute(IFA.ADDRESS, local),
      attribute(IFA.FLAGS, u32(IFA_F_NODAD)),
    ]),
  };
}

export function deleteIpv6Address({ linkIndex, ipv6, prefix }: Ipv6Address): NetlinkMessage {
  return {
    what: `take the address ${ipv6}/${prefix} away`,
    type: RTM.DELADDR,
    flags: NLM_F.ACK,
    body: Buffer.concat([addressHeader(prefix, linkIndex), attribute(IFA.LOCAL, ipBytes(ipv6))]),
    tolerate: ['EADDRNOTAVAIL'],
  };
}

/** The default route; one that is there already is replaced. */
export function setIpv6DefaultRoute(gateway: string, linkIndex: number): NetlinkMessage {
  return {
    what: `route by ${gateway}`,
    type: RTM.NEWROUTE,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([
      Buffer.from([AF_INET6, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST]),
      u32(0),
      attribute(RTA.GATEWAY, ipBytes(gateway)),
      attribute(RTA.OIF, u32(linkIndex)),
    ]),
  };
}

/**
 * Lets answers to a process of the node that has called ::1 come in by a link: without it the kernel looks for ::1 on the loopback link alone.
 * A packet that is sent to ::1 from elsewhere is dropped before it gets so far.
 */
export function routeLoopback(linkIndex: number): NetlinkMessage {
  return {
    what: 'route ::1',
    type: RTM.NEWROUTE,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([
      Buffer.from([AF_INET6, 128, 0, 0, RT_TABLE_LOCAL, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_LOCAL]),
      u32(0),
      attribute(RTA.DESTINATION, ipBytes('::1')),
      attribute(RTA.OIF, u32(linkIndex)),
      attribute(RTA.PRIORITY, u32(BEHIND_THE_KERNELS)),
    ]),
  };
}

/** The IPv6 addresses among the replies, but those that the kernel gives each link by itself. */
export function ipv6AddressesOf(replies: readonly NetlinkReply[]): readonly Ipv6Address[] {
  return replies
    .filter(({ type, body }) => type === RTM.NEWADDR && body[0] === AF_INET6 && body[3] !== RT_SCOPE_LINK)
    .map(({ body }) => {
      const found = attributes(body, ADDRESS_HEADER_BYTES);
      const local = found.get(IFA.LOCAL) ?? found.get(IFA.ADDRESS) ?? Buffer.alloc(16);
      return { linkIndex: readU32(body, 4), ipv6: formatIpBytes(local), prefix: body[1] ?? 0 };
    });
}

/** struct ifaddrmsg */
function addressHeader(prefix: number, linkIndex: number): Buffer {
  return Buffer.concat([Buffer.from([AF_INET6, prefix, 0, 0]), u32(linkIndex)]);
}
