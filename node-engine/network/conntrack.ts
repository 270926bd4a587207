/**
 * Requests of ctnetlink (linux/netfilter/nfnetlink_conntrack.h): the flows that the kernel tracks. A flow keeps the backend
 * that its first packet was led to; over UDP a caller that goes on sending from the same port would never get another. Pure.
 */
import { addressBytes, formatBytes } from './address.ts';
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, attribute, attributes, nested, u16, u32 } from './netlink.ts';

const SUBSYSTEM = 1;
const MSG = { NEW: 0, GET: 1, DELETE: 2, GET_STATS: 5 } as const;
const STATS_ENTRIES = 1;
const NFPROTO_IPV4 = 2;
const NFPROTO_IPV6 = 10;
const HEADER_BYTES = 4;
const CTA = { TUPLE_ORIG: 1, TUPLE_REPLY: 2, STATUS: 3, PROTOINFO: 4, FILTER: 25 } as const;
/** IPS_SEEN_REPLY */
const SEEN_REPLY = 1 << 1;
const PROTOINFO_TCP = 1;
const TCP_STATE = 1;
/** enum tcp_conntrack: the caller has not been answered yet. */
const SYN_SENT = 1;
const TUPLE = { IP: 1, PROTO: 2 } as const;
const IP = { SOURCE: 1, DESTINATION: 2, SOURCE6: 3, DESTINATION6: 4 } as const;
const PROTO = { NUMBER: 1, SOURCE_PORT: 2, DESTINATION_PORT: 3 } as const;
const FILTER = { ORIG_FLAGS: 1, REPLY_FLAGS: 2 } as const;
/** Which parts of the tuple the kernel compares: protocol and destination port. */
const COMPARE = (1 << 3) | (1 << 5);
/** The address that the caller sent to. */
const COMPARE_DESTINATION = 1 << 1;
export const UDP = 17;

export interface Flow {
  /** Names the flow to the kernel. */
  readonly tuple: Buffer;
  readonly family: 'ip' | 'ip6';
  /** 17: UDP */
  readonly protocol: number;
  /** Where the caller sent to. */
  readonly destination: string;
  readonly port: number;
  /** Who answers: "10.128.1.2:53". */
  readonly backend: string;
  /** Its address and port. */
  readonly answerer: string;
  readonly answererPort: number;
  /** The caller's port, and what it is for the one who answers. */
  readonly callerPort: number;
  readonly translatedPort: number;
  /** A caller over TCP that is not connected yet, over UDP one that has had no answer yet. */
  readonly isUnanswered: boolean;
}

/**
 * Asks how many flows the namespace has, with those whose first packet is on its way through the rules just now. The kernel looks through the flows of
 * all namespaces to list those of one (6 ms of CPU with 262,144 buckets); this costs next to nothing.
 */
export function countFlows(): NetlinkMessage {
  return {
    what: 'count the tracked flows',
    type: (SUBSYSTEM << 8) | MSG.GET_STATS,
    flags: 0,
    body: header('ip'),
  };
}

/** Answer to {@link countFlows}, all families together; undefined: none. */
export function flowCountOf(replies: readonly NetlinkReply[]): number | undefined {
  const reply = replies.find(({ type }) => type === ((SUBSYSTEM << 8) | MSG.GET_STATS));
  return reply && attributes(reply.body, HEADER_BYTES).get(STATS_ENTRIES)?.readUInt32BE(0);
}

/** All flows to an address. @param address "10.128.0.254" or an IPv6 address; undefined: all flows of the family */
export function listFlows(family: 'ip' | 'ip6', address: string | undefined): NetlinkMessage {
  const kind = family === 'ip' ? IP.DESTINATION : IP.DESTINATION6;
  const filter =
    address === undefined
      ? []
      : [
          nested(CTA.TUPLE_ORIG, nested(TUPLE.IP, attribute(kind, addressBytes(address)))),
          nested(
            CTA.FILTER,
            attribute(FILTER.ORIG_FLAGS, u32(COMPARE_DESTINATION)),
            attribute(FILTER.REPLY_FLAGS, u32(0)),
          ),
        ];
  return {
    what: 'list the tracked flows',
    type: (SUBSYSTEM << 8) | MSG.GET,
    flags: NLM_F.DUMP,
    body: Buffer.concat([header(family), ...filter]),
  };
}

/** All flows over UDP to a port, whatever the address. Kernels before 5.8 ignore the filter and list all flows. */
export function listUdpFlows(family: 'ip' | 'ip6', port: number): NetlinkMessage {
  return {
    what: 'list the tracked flows',
    type: (SUBSYSTEM << 8) | MSG.GET,
    flags: NLM_F.DUMP,
    body: Buffer.concat([
      header(family),
      nested(
        CTA.TUPLE_ORIG,
        nested(
          TUPLE.PROTO,
          attribute(PROTO.NUMBER, Buffer.from([UDP])),
          attribute(PROTO.DESTINATION_PORT, Buffer.from([port >> 8, port & 255])),
        ),
      ),
      nested(CTA.FILTER, attribute(FILTER.ORIG_FLAGS, u32(COMPARE)), attribute(FILTER.REPLY_FLAGS, u32(0))),
    ]),
  };
}

export function flowsOf(replies: readonly NetlinkReply[]): readonly Flow[] {
  return replies
    .filter(({ type }) => type === ((SUBSYSTEM << 8) | MSG.NEW))
    .flatMap(({ body }) => {
      const found = attributes(body, HEADER_BYTES);
      const tuple = found.get(CTA.TUPLE_ORIG);
      const reply = found.get(CTA.TUPLE_REPLY);
      if (!tuple || !reply) return [];
      const { source, sourcePort, destinationPort: translatedPort } = ends(reply);
      const { destination, destinationPort, protocol, sourcePort: callerPort } = ends(tuple);
      const tcp = attributes(found.get(CTA.PROTOINFO) ?? Buffer.alloc(0), 0).get(PROTOINFO_TCP);
      return [
        {
          tuple,
          family: body[0] === NFPROTO_IPV6 ? ('ip6' as const) : ('ip' as const),
          protocol,
          destination,
          port: destinationPort,
          backend: `${source}:${sourcePort}`,
          answerer: source,
          answererPort: sourcePort,
          callerPort,
          translatedPort,
          isUnanswered:
            tcp === undefined
              ? ((found.get(CTA.STATUS)?.readUInt32BE(0) ?? SEEN_REPLY) & SEEN_REPLY) === 0
              : attributes(tcp, 0).get(TCP_STATE)?.[0] === SYN_SENT,
        },
      ];
    });
}

/** The caller's next packet begins a new flow. */
export function deleteFlow(flow: Flow): NetlinkMessage {
  return {
    what: 'forget a tracked flow',
    type: (SUBSYSTEM << 8) | MSG.DELETE,
    flags: NLM_F.ACK,
    body: Buffer.concat([header(flow.family), nested(CTA.TUPLE_ORIG, flow.tuple)]),
    tolerate: ['ENOENT'],
  };
}

interface Ends {
  readonly protocol: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

function ends(tuple: Buffer): Ends {
  const parts = attributes(tuple, 0);
  const ip = attributes(parts.get(TUPLE.IP) ?? Buffer.alloc(0), 0);
  const proto = attributes(parts.get(TUPLE.PROTO) ?? Buffer.alloc(0), 0);
  const address = (value: Buffer | undefined): string => (value ? formatBytes(value) : '');
  return {
    protocol: proto.get(PROTO.NUMBER)?.[0] ?? 0,
    source: address(ip.get(IP.SOURCE) ?? ip.get(IP.SOURCE6)),
    sourcePort: proto.get(PROTO.SOURCE_PORT)?.readUInt16BE(0) ?? 0,
    destination: address(ip.get(IP.DESTINATION) ?? ip.get(IP.DESTINATION6)),
    destinationPort: proto.get(PROTO.DESTINATION_PORT)?.readUInt16BE(0) ?? 0,
  };
}

/** struct nfgenmsg */
function header(family: 'ip' | 'ip6'): Buffer {
  return Buffer.concat([Buffer.from([family === 'ip' ? NFPROTO_IPV4 : NFPROTO_IPV6, 0]), u16(0)]);
}
