/**
 * Requests of rtnetlink for routes that a packet takes by its mark (linux/fib_rules.h; ip-rule(8)): a table for each mark, with a default
 * route. Pure.
 */
import { isIPv4 } from 'node:net';
import { addressBytes } from './address.ts';
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, attribute, attributes, readU32, u32 } from './netlink.ts';

const RTM = { NEWROUTE: 24, NEWRULE: 32, DELRULE: 33, GETRULE: 34 } as const;
const AF_INET = 2;
const AF_INET6 = 10;
const FRA = { PRIORITY: 6, MARK: 10, TABLE: 15, MARK_MASK: 16 } as const;
const TO_TABLE = 1;
const RULE_HEADER_BYTES = 12;
const RTA = { OIF: 4, GATEWAY: 5, TABLE: 15 } as const;
const RT_TABLE_UNSPEC = 0;
const RTPROT_STATIC = 4;
const RT_SCOPE_UNIVERSE = 0;
const RTN_UNICAST = 1;
/** The gateway is on the link, whether or not the link has its address already. */
const RTNH_F_ONLINK = 4;
const WHOLE = 0xffffffff;

export type Family = 'ip' | 'ip6';
const numberOf = (family: Family): number => (family === 'ip' ? AF_INET : AF_INET6);

/** All rules of a family. */
export function listMarkRules(family: Family): NetlinkMessage {
  return { what: 'list the rules of routing', type: RTM.GETRULE, flags: NLM_F.DUMP, body: ruleHeader(family) };
}

/** The marks that rules of this priority lead to the table of the same number. */
export function markRulesOf(family: Family, priority: number, replies: readonly NetlinkReply[]): readonly number[] {
  return replies.flatMap(({ type, body }) => {
    if (type !== RTM.NEWRULE || body[0] !== numberOf(family)) return [];
    const found = attributes(body, RULE_HEADER_BYTES);
    const [is, mark] = [FRA.PRIORITY, FRA.MARK].map((key) => found.get(key)).map((value) => value && readU32(value, 0));
    return is === priority && mark !== undefined ? [mark] : [];
  });
}

/** Packets with a mark take the routes of the table that has the mark's number. */
export function addMarkRule(family: Family, priority: number, mark: number): NetlinkMessage {
  return {
    what: `route packets with the mark 0x${mark.toString(16)}`,
    type: RTM.NEWRULE,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL,
    body: markRule(family, priority, mark),
    tolerate: ['EEXIST'],
  };
}

export function deleteMarkRule(family: Family, priority: number, mark: number): NetlinkMessage {
  return {
    what: `no longer route packets with the mark 0x${mark.toString(16)}`,
    type: RTM.DELRULE,
    flags: NLM_F.ACK,
    body: markRule(family, priority, mark),
    tolerate: ['ENOENT'],
  };
}

/** The default route of a table; another one that is there is replaced. The table goes with its link. */
export function setTableRoute(gateway: string, linkIndex: number, table: number): NetlinkMessage {
  const family = isIPv4(gateway) ? AF_INET : AF_INET6;
  return {
    what: `route by ${gateway}`,
    type: RTM.NEWROUTE,
    flags: NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([
      Buffer.from([family, 0, 0, 0, RT_TABLE_UNSPEC, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST]),
      u32(RTNH_F_ONLINK),
      attribute(RTA.TABLE, u32(table)),
      attribute(RTA.GATEWAY, addressBytes(gateway)),
      attribute(RTA.OIF, u32(linkIndex)),
    ]),
  };
}

function markRule(family: Family, priority: number, mark: number): Buffer {
  return Buffer.concat([
    ruleHeader(family),
    attribute(FRA.PRIORITY, u32(priority)),
    attribute(FRA.MARK, u32(mark)),
    attribute(FRA.MARK_MASK, u32(WHOLE)),
    attribute(FRA.TABLE, u32(mark)),
  ]);
}

/** struct fib_rule_hdr */
function ruleHeader(family: Family): Buffer {
  return Buffer.concat([Buffer.from([numberOf(family), 0, 0, 0, RT_TABLE_UNSPEC, 0, 0, TO_TABLE]), u32(0)]);
}
