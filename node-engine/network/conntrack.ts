/**
 * Requests of ctnetlink (linux/netfilter/nfnetlink_conntrack.h): the flows that the kernel tracks. A flow keeps the backend
 * that its first packet was led to; over UDP a caller that goes on sending from the same port would never get another. Pure.
 */
import { formatIpv4 } from './address.ts';
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, attribute, attributes, nested, u16, u32 } from './netlink.ts';

const SUBSYSTEM = 1;
const MSG = { NEW: 0, GET: 1, DELETE: 2 } as const;
const NFPROTO_IPV4 = 2;
const HEADER_BYTES = 4;
const CTA = { TUPLE_ORIG: 1, TUPLE_REPLY: 2, FILTER: 25 } as const;
const TUPLE = { IP: 1, PROTO: 2 } as const;
const IP = { SOURCE: 1, DESTINATION: 2 } as const;
const PROTO = { NUMBER: 1, SOURCE_PORT: 2, DESTINATION_PORT: 3 } as const;
const FILTER = { ORIG_FLAGS: 1, REPLY_FLAGS: 2 } as const;
/** Which parts of the tuple the kernel compares: protocol and destination port. */
const COMPARE = (1 << 3) | (1 << 5);
export const UDP = 17;

export interface Flow {
  /** Names the flow to the kernel. */
  readonly tuple: Buffer;
  /** 17: UDP */
  readonly protocol: number;
  /** Where the caller sent to. */
  readonly destination: string;
  readonly port: number;
  /** Who answers: "10.128.1.2:53". */
  readonly backend: string;
}

/** All flows over UDP to a port, whatever the address. Kernels before 5.8 ignore the filter and list all flows. */
export function listUdpFlows(port: number): NetlinkMessage {
  return {
    what: 'list the tracked flows',
    type: (SUBSYSTEM << 8) | MSG.GET,
    flags: NLM_F.DUMP,
    body: Buffer.concat([
      header(),
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
      const { source, sourcePort } = ends(reply);
      const { destination, destinationPort, protocol } = ends(tuple);
      return [{ tuple, protocol, destination, port: destinationPort, backend: `${source}:${sourcePort}` }];
    });
}

/** The caller's next packet begins a new flow. */
export function deleteFlow(flow: Flow): NetlinkMessage {
  return {
    what: 'forget a tracked flow',
    type: (SUBSYSTEM << 8) | MSG.DELETE,
    flags: NLM_F.ACK,
    body: Buffer.concat([header(), nested(CTA.TUPLE_ORIG, flow.tuple)]),
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
  const address = (value: Buffer | undefined): string => (value ? formatIpv4(value.readUInt32BE(0)) : '');
  return {
    protocol: proto.get(PROTO.NUMBER)?.[0] ?? 0,
    source: address(ip.get(IP.SOURCE)),
    sourcePort: proto.get(PROTO.SOURCE_PORT)?.readUInt16BE(0) ?? 0,
    destination: address(ip.get(IP.DESTINATION)),
    destinationPort: proto.get(PROTO.DESTINATION_PORT)?.readUInt16BE(0) ?? 0,
  };
}

/** struct nfgenmsg */
function header(): Buffer {
  return Buffer.concat([Buffer.from([NFPROTO_IPV4, 0]), u16(0)]);
}
