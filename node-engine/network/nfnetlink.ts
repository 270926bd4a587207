/**
 * Requests of nf_tables in their binary form (linux/netfilter/nf_tables.h): for rules inside containers' namespaces, where
 * spawning nft(8) would cost more than everything else of a start. Pure.
 */
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, attribute, attributes, nested, readText, text } from './netlink.ts';

const SUBSYSTEM = 10;
/** Kinds of requests. */
export const MSG = {
  NEWTABLE: 0,
  GETTABLE: 1,
  DELTABLE: 2,
  NEWCHAIN: 3,
  GETCHAIN: 4,
  DELCHAIN: 5,
  NEWRULE: 6,
  DELRULE: 8,
  NEWSET: 9,
  NEWSETELEM: 12,
  DELSETELEM: 14,
  NEWGEN: 15,
  GETGEN: 16,
  NEWOBJ: 18,
  GETOBJ: 19,
} as const;
const BATCH_BEGIN = 0x10;
const BATCH_END = 0x11;
const NFPROTO_UNSPEC = 0;
export const NFPROTO_IPV4 = 2;
export const NFPROTO_IPV6 = 10;
const NFPROTO_BRIDGE = 7;
const FAMILIES = { ip: NFPROTO_IPV4, ip6: NFPROTO_IPV6, bridge: NFPROTO_BRIDGE } as const;
const HEADER_BYTES = 4;

/** Verdict registers are 128 bits wide and numbered from 1; 32-bit parts are not needed here. */
const REGISTER = 1;
const HOOK_FORWARD = 2;
export const HOOK_LOCAL_OUT = 3;
const POLICY_DROP = 0;
export const TABLE = { NAME: 1 } as const;
export const CHAIN = { TABLE: 1, NAME: 3, HOOK: 4, POLICY: 5, TYPE: 7 } as const;
export const HOOK = { NUMBER: 1, PRIORITY: 2 } as const;
export const RULE = { TABLE: 1, CHAIN: 2, EXPRESSIONS: 4 } as const;
export const LIST_ELEMENT = 1;
const EXPRESSION = { NAME: 1, DATA: 2 } as const;
const PAYLOAD = {
  DREG: 1,
  BASE: 2,
  OFFSET: 3,
  LENGTH: 4,
  SREG: 5,
  CSUM_TYPE: 6,
  CSUM_OFFSET: 7,
  CSUM_FLAGS: 8,
} as const;
const BASE_NETWORK = 1;
const BASE_TRANSPORT = 2;
const CSUM_INET = 1;
/** NFT_PAYLOAD_L4CSUM_PSEUDOHDR */
const CSUM_PSEUDO = 1;
const CMP = { SREG: 1, OP: 2, DATA: 3 } as const;
const CMP_EQ = 0;
const META = { DREG: 1, KEY: 2 } as const;
const META_L4PROTO = 16;
const IMMEDIATE = { DREG: 1, DATA: 2 } as const;
export const DATA_VALUE = 1;

/** Asks for the count of changes to the rules of the namespace. */
export function getGeneration(): NetlinkMessage {
  return { what: 'read the generation of the rules', ...nft(MSG.GETGEN, 0, NFPROTO_UNSPEC, []) };
}

export function generationOf(replies: readonly NetlinkReply[]): number | undefined {
  const reply = replies.find(({ type }) => type === ((SUBSYSTEM << 8) | MSG.NEWGEN));
  return reply && attributes(reply.body, HEADER_BYTES).get(1)?.readUInt32BE(0);
}

/** Asks for a table; that there is none is a failure (ENOENT). */
export function getTable(name: string, family: keyof typeof FAMILIES = 'ip'): NetlinkMessage {
  return {
    what: `find the table "${name}"`,
    ...nft(MSG.GETTABLE, 0, FAMILIES[family], [attribute(TABLE.NAME, text(name))]),
  };
}

/** Asks for all chains of IPv4. */
export function listChains(): NetlinkMessage {
  return { what: 'list the chains', ...nft(MSG.GETCHAIN, NLM_F.DUMP, NFPROTO_IPV4, []) };
}

/** Chains that drop every packet to be forwarded that they do not accept: "filter FORWARD". */
export function droppingChainsOf(replies: readonly NetlinkReply[]): readonly string[] {
  return replies
    .filter(({ type }) => type === ((SUBSYSTEM << 8) | MSG.NEWCHAIN))
    .flatMap(({ body }) => {
      const chain = attributes(body, HEADER_BYTES);
      const hook = attributes(chain.get(CHAIN.HOOK) ?? Buffer.alloc(0), 0)
        .get(HOOK.NUMBER)
        ?.readUInt32BE(0);
      const drops = chain.get(CHAIN.POLICY)?.readUInt32BE(0) === POLICY_DROP;
      return drops && hook === HOOK_FORWARD
        ? [`${readText(chain.get(CHAIN.TABLE))} ${readText(chain.get(CHAIN.NAME))}`]
        : [];
    });
}

/** Makes a table that is not there yet; else a failure (EEXIST). */
export function createTable(name: string): readonly NetlinkMessage[] {
  const flags = NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL;
  const what = `make the table "${name}"`;
  return [{ what, ...nft(MSG.NEWTABLE, flags, NFPROTO_IPV4, [attribute(TABLE.NAME, text(name))]) }];
}

/** Requests that the kernel carries out together or not at all. */
export function transaction(messages: readonly NetlinkMessage[]): readonly NetlinkMessage[] {
  const mark = (type: number): NetlinkMessage => ({
    what: 'change the rules',
    type,
    flags: 0,
    body: header(NFPROTO_UNSPEC, SUBSYSTEM),
  });
  return [mark(BATCH_BEGIN), ...messages, { ...mark(BATCH_END), isLast: true }];
}

/**
 * Several, one after the other: each is a generation of rules of its own. A chain must have been there for one before anything leads to it:
 * a packet that is on its way through the rules while the generation changes looks into the maps of the new one, but keeps to the chains as
 * they were, and one that is new was empty (nft_do_chain() takes its generation once, lookups in sets each take theirs).
 * @param steps what each of them does; those that do nothing are left out
 */
export function transactions(...steps: readonly (readonly NetlinkMessage[])[]): readonly NetlinkMessage[] {
  return steps.filter(({ length }) => length > 0).flatMap(transaction);
}

/** How many transactions requests consist of. */
export const countTransactions = (messages: readonly NetlinkMessage[]): number =>
  messages.filter(({ isLast }) => isLast === true).length;

/** Removes a table if it is there and makes it anew. Slow: the kernel answers a deletion only after a grace period. */
export function replaceTable(name: string): readonly NetlinkMessage[] {
  const what = `make the table "${name}"`;
  const body = [attribute(TABLE.NAME, text(name))];
  const make = { what, ...nft(MSG.NEWTABLE, NLM_F.ACK | NLM_F.CREATE, NFPROTO_IPV4, body) };
  // Deleting what is not there would fail: so it is made first.
  return [make, { what, ...nft(MSG.DELTABLE, NLM_F.ACK, NFPROTO_IPV4, body) }, make];
}

/** A filter chain for what the namespace's own processes send. */
export function outputChain(table: string, name: string, priority: number): NetlinkMessage {
  return {
    what: `make the chain "${name}"`,
    ...nft(MSG.NEWCHAIN, NLM_F.ACK | NLM_F.CREATE, NFPROTO_IPV4, [
      attribute(CHAIN.TABLE, text(table)),
      attribute(CHAIN.NAME, text(name)),
      nested(CHAIN.HOOK, attribute(HOOK.NUMBER, u32be(HOOK_LOCAL_OUT)), attribute(HOOK.PRIORITY, u32be(priority))),
      attribute(CHAIN.TYPE, text('filter')),
    ]),
  };
}

export interface PortRewrite {
  /** 6: TCP, 17: UDP */
  readonly protocol: 6 | 17;
  readonly side: 'source' | 'destination';
  readonly ipv4: number;
  readonly from: number;
  readonly to: number;
}

/** A rule that changes a port of packets from or to an address, without tracking connections. */
export function rewritePort(table: string, chain: string, rewrite: PortRewrite): NetlinkMessage {
  const source = rewrite.side === 'source';
  const portOffset = source ? 0 : 2;
  return {
    what: `make a rule of the chain "${chain}"`,
    ...nft(MSG.NEWRULE, NLM_F.ACK | NLM_F.CREATE | NLM_F_APPEND, NFPROTO_IPV4, [
      attribute(RULE.TABLE, text(table)),
      attribute(RULE.CHAIN, text(chain)),
      nested(
        RULE.EXPRESSIONS,
        ...[
          loadProtocol(),
          equals(Buffer.from([rewrite.protocol])),
          load(BASE_NETWORK, source ? 12 : 16, 4),
          equals(u32be(rewrite.ipv4)),
          load(BASE_TRANSPORT, portOffset, 2),
          equals(u16be(rewrite.from)),
          expression(
            'immediate',
            attribute(IMMEDIATE.DREG, u32be(REGISTER)),
            nested(IMMEDIATE.DATA, attribute(DATA_VALUE, u16be(rewrite.to))),
          ),
          store(REGISTER, {
            base: BASE_TRANSPORT,
            offset: portOffset,
            length: 2,
            checksum: rewrite.protocol === 6 ? 16 : 6,
          }),
        ],
      ),
    ]),
  };
}

/** A new rule goes behind those that are there. */
export const NLM_F_APPEND = 0x800;

/** Loads the number of the transport protocol into the first register. */
export function loadProtocol(register = REGISTER): Buffer {
  return expression('meta', attribute(META.DREG, u32be(register)), attribute(META.KEY, u32be(META_L4PROTO)));
}

/** Loads a part of the packet into the first register. @param base 1: network header, 2: transport header */
export function load(base: number, offset: number, length: number, register = REGISTER): Buffer {
  return expression(
    'payload',
    attribute(PAYLOAD.DREG, u32be(register)),
    attribute(PAYLOAD.BASE, u32be(base)),
    attribute(PAYLOAD.OFFSET, u32be(offset)),
    attribute(PAYLOAD.LENGTH, u32be(length)),
  );
}

/** What a register is stored to. */
export interface Stored {
  /** 1: network header, 2: transport header */
  readonly base: number;
  readonly offset: number;
  readonly length: number;
  /** Offset of the header's checksum; undefined: it has none. */
  readonly checksum: number | undefined;
  /** The checksum of the transport header covers it, too. */
  readonly isPseudo?: boolean;
}

/** Stores a register to a part of the packet, and keeps its checksums right. */
export function store(register: number, { base, offset, length, checksum, isPseudo = false }: Stored): Buffer {
  const inet = [attribute(PAYLOAD.CSUM_TYPE, u32be(CSUM_INET)), attribute(PAYLOAD.CSUM_OFFSET, u32be(checksum ?? 0))];
  return expression(
    'payload',
    attribute(PAYLOAD.SREG, u32be(register)),
    attribute(PAYLOAD.BASE, u32be(base)),
    attribute(PAYLOAD.OFFSET, u32be(offset)),
    attribute(PAYLOAD.LENGTH, u32be(length)),
    ...(checksum === undefined ? [] : inet),
    ...(isPseudo ? [attribute(PAYLOAD.CSUM_FLAGS, u32be(CSUM_PSEUDO))] : []),
  );
}

/** Goes on if the first register has this value. */
export function equals(value: Buffer): Buffer {
  return expression(
    'cmp',
    attribute(CMP.SREG, u32be(REGISTER)),
    attribute(CMP.OP, u32be(CMP_EQ)),
    nested(CMP.DATA, attribute(DATA_VALUE, value)),
  );
}

/** One expression of a rule. */
export function expression(name: string, ...data: readonly Buffer[]): Buffer {
  return nested(LIST_ELEMENT, attribute(EXPRESSION.NAME, text(name)), nested(EXPRESSION.DATA, ...data));
}

/** A request of nf_tables: its type, flags and body. */
export function nft(
  message: number,
  flags: number,
  family: number,
  attributes: readonly Buffer[],
): { readonly type: number; readonly flags: number; readonly body: Buffer } {
  return { type: (SUBSYSTEM << 8) | message, flags, body: Buffer.concat([header(family, 0), ...attributes]) };
}

/** struct nfgenmsg: its resource id is in network byte order, as all numbers of this subsystem. */
function header(family: number, resource: number): Buffer {
  return Buffer.concat([Buffer.from([family, 0]), u16be(resource)]);
}

function u16be(value: number): Buffer {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16BE(value);
  return buffer;
}

/** Numbers of nfnetlink are in network byte order. */
export function u32be(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32BE(value | 0);
  return buffer;
}
