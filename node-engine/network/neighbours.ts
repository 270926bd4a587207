/** Requests of rtnetlink for neighbours and forwarding entries (linux/neighbour.h). Pure. */
import { isIPv6 } from 'node:net';
import { formatIpBytes, ipBytes } from '../../base/ip-address.ts';
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, attribute, attributes, readU16, readU32, u16, u32 } from './netlink.ts';
import { macBytes } from './route.ts';

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_BRIDGE = 7;
const AF_INET6 = 10;
const HEADER_BYTES = 12;
const NDA = { DST: 1, LLADDR: 2 } as const;
const NTF = { SELF: 2, MASTER: 4 } as const;
const NUD = { REACHABLE: 0x02, NOARP: 0x40, PERMANENT: 0x80 } as const;

/**
 * Of thousands of these, only refusals are answered: the answers of a long request would not fit in the socket.
 */
const PUT = NLM_F.CREATE | NLM_F.REPLACE;

/** Frames to `mac` go through the tunnel to the node at `peer`; `bridged`: those that come from its bridge, too. */
export function putForwarding(tunnel: number, mac: string, peer: string, bridged: boolean): NetlinkMessage {
  return {
    what: `lead frames for ${mac} to ${peer}`,
    type: RTM_NEWNEIGH,
    flags: PUT,
    body: Buffer.concat([
      // It may not be PERMANENT: to a bridge that means an address of its own.
      header(AF_BRIDGE, tunnel, NUD.REACHABLE | NUD.NOARP, bridged ? NTF.SELF | NTF.MASTER : NTF.SELF),
      attribute(NDA.LLADDR, macBytes(mac)),
      attribute(NDA.DST, ipBytes(peer)),
    ]),
  };
}

/** Takes both entries away; each is asked for by itself, for the second is not looked at when the first is missing. */
export function deleteForwarding(tunnel: number, mac: string, bridged: boolean): readonly NetlinkMessage[] {
  return (bridged ? [NTF.MASTER, NTF.SELF] : [NTF.SELF]).map((flag) => ({
    what: `lead frames for ${mac} no longer`,
    type: RTM_DELNEIGH,
    flags: 0,
    body: Buffer.concat([header(AF_BRIDGE, tunnel, 0, flag), attribute(NDA.LLADDR, macBytes(mac))]),
    tolerate: ['ENOENT'],
  }));
}

/** Who asks for `ip` is answered at once: by the bridge for its containers, by the kernel for itself. */
export function putNeighbour(link: number, ip: string, mac: string): NetlinkMessage {
  return {
    what: `make ${ip} known as ${mac}`,
    type: RTM_NEWNEIGH,
    flags: PUT,
    body: Buffer.concat([
      header(familyOf(ip), link, NUD.PERMANENT, 0),
      attribute(NDA.DST, ipBytes(ip)),
      attribute(NDA.LLADDR, macBytes(mac)),
    ]),
  };
}

export function deleteNeighbour(link: number, ip: string): NetlinkMessage {
  return {
    what: `forget ${ip}`,
    type: RTM_DELNEIGH,
    flags: 0,
    body: Buffer.concat([header(familyOf(ip), link, 0, 0), attribute(NDA.DST, ipBytes(ip))]),
    tolerate: ['ENOENT'],
  };
}

/** Asks for the neighbours of all links, both versions of IP. */
export function listNeighbours(): NetlinkMessage {
  return {
    what: 'list the neighbours',
    type: RTM_GETNEIGH,
    flags: NLM_F.DUMP,
    body: header(AF_UNSPEC, 0, 0, 0),
  };
}

/** Asks for the forwarding entries of all bridges and tunnels. */
export function listForwarding(): NetlinkMessage {
  return {
    what: 'list the forwarding entries',
    type: RTM_GETNEIGH,
    flags: NLM_F.DUMP,
    body: header(AF_BRIDGE, 0, 0, 0),
  };
}

export interface Neighbour {
  readonly link: number;
  readonly ip: string;
  readonly mac: string;
}

export interface Forwarding {
  /** The tunnel, or the port of a bridge. */
  readonly link: number;
  readonly mac: string;
  /** What is in the tunnel's table; undefined: the entry is the bridge's, and leads to that port. */
  readonly peer?: string;
}

/** The permanent neighbours among the replies. */
export function neighboursOf(replies: readonly NetlinkReply[]): readonly Neighbour[] {
  return entriesOf(replies).flatMap(({ family, link, state, dst, mac }) =>
    (family === AF_INET || family === AF_INET6) && (state & NUD.PERMANENT) !== 0 && dst !== undefined && mac !== ''
      ? [{ link, ip: formatIpBytes(dst), mac }]
      : [],
  );
}

/** The static forwarding entries among the replies. */
export function forwardingOf(replies: readonly NetlinkReply[]): readonly Forwarding[] {
  return entriesOf(replies).flatMap(({ family, link, state, flags, dst, mac }): readonly Forwarding[] => {
    if (family !== AF_BRIDGE || (state & NUD.NOARP) === 0 || mac === '') return [];
    if ((flags & NTF.SELF) === 0) return [{ link, mac }];
    return dst === undefined ? [] : [{ link, mac, peer: formatIpBytes(dst) }];
  });
}

function entriesOf(replies: readonly NetlinkReply[]) {
  return replies
    .filter(({ type }) => type === RTM_NEWNEIGH)
    .map(({ body }) => {
      const found = attributes(body, HEADER_BYTES);
      return {
        family: body[0] ?? 0,
        link: readU32(body, 4),
        state: readU16(body, 8),
        flags: body[10] ?? 0,
        dst: found.get(NDA.DST),
        mac: (found.get(NDA.LLADDR) ?? Buffer.alloc(0)).toString('hex').replace(/..(?=.)/g, '$&:'),
      };
    });
}

const familyOf = (ip: string): number => (isIPv6(ip) ? AF_INET6 : AF_INET);

/** struct ndmsg */
function header(family: number, link: number, state: number, flags: number): Buffer {
  return Buffer.concat([Buffer.from([family, 0, 0, 0]), u32(link), u16(state), Buffer.from([flags, 0])]);
}
