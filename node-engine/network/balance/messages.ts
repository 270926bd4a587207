/**
 * Requests of nf_tables for maps and the rules that choose with them (linux/netfilter/nf_tables.h), for both families. Pure.
 *
 * Registers: 1 is the first one of 128 bits, which begins with the 32-bit register 8. A map's key of several parts lies in
 * registers that follow each other.
 */
import type { NetlinkMessage, NetlinkReply } from '../netlink.ts';
import { NLM_F, attribute, attributes, nested, readText, text, u32 } from '../netlink.ts';
import {
  CHAIN,
  DATA_VALUE,
  HOOK,
  HOOK_LOCAL_OUT,
  LIST_ELEMENT,
  MSG,
  NFPROTO_IPV4,
  NFPROTO_IPV6,
  NLM_F_APPEND,
  RULE,
  TABLE,
  equals,
  expression,
  load,
  loadProtocol,
  nft,
  store,
  u32be,
} from '../nfnetlink.ts';

export type Family = 'ip' | 'ip6';

/**
 * What differs between the two: bytes of an address, where source and destination stand in the header, and its checksum, if it has one;
 * nft(8)'s number of the address's type.
 */
const FAMILIES = {
  ip: { number: NFPROTO_IPV4, bytes: 4, source: 12, destination: 16, checksum: 10, type: 7, unreachable: 3 },
  ip6: { number: NFPROTO_IPV6, bytes: 16, source: 8, destination: 24, checksum: undefined, type: 8, unreachable: 4 },
} as const;

/** nft(8) prints an index as it prints packet marks: both are numbers of the machine. */
const TYPE_BITS = 6;
export const VERDICT = 0xffffff00;
const SET = {
  TABLE: 1,
  NAME: 2,
  FLAGS: 3,
  KEY_TYPE: 4,
  KEY_LENGTH: 5,
  DATA_TYPE: 6,
  DATA_LENGTH: 7,
  ID: 10,
  TIMEOUT: 11,
} as const;
const FLAG_MAP = 8;
const FLAG_TIMEOUT = 16;
const LIST = { TABLE: 1, SET: 2, ELEMENTS: 3 } as const;
const ELEMENT = { KEY: 1, DATA: 2, FLAGS: 3, KEY_END: 10 } as const;
const ENDS_RANGE = 1;
const DATA_VERDICT = 2;
const VERDICT_PART = { CODE: 1, CHAIN: 2 } as const;
const GOTO = -4;
const LOOKUP = { SET: 1, SOURCE: 2, TARGET: 3 } as const;
const NUMGEN = { TARGET: 1, MODULUS: 2, TYPE: 3 } as const;
const RANDOM = 1;
const NAT = { TYPE: 1, FAMILY: 2, ADDRESS: 3, PORT: 5 } as const;
const HASH = { SOURCE: 1, TARGET: 2, LENGTH: 3, MODULUS: 4 } as const;
/** nft(8)'s numbers of types. */
export const TYPE = { ADDRESS: 7, ADDRESS6: 8, PROTOCOL: 12, PORT: 13, MARK: 19 } as const;
const DNAT = 1;
const OBJECT = { TABLE: 1, NAME: 2, TYPE: 3, DATA: 4 } as const;
const COUNTER = 1;
const COUNTER_PACKETS = 2;
const OBJECT_REFERENCE = { TYPE: 1, NAME: 2 } as const;
const NFGENMSG_BYTES = 4;
const REJECT = { TYPE: 1, CODE: 2 } as const;
const ICMP_UNREACHABLE = 0;
const TCP_RESET = 1;
const TCP = 6;
export const FIRST_WIDE = 1;
export const FIRST_NARROW = 8;
const VERDICT_REGISTER = 0;
const BASE_NETWORK = 1;
const BASE_TRANSPORT = 2;
const PRIORITY_DNAT = -100;
const PRIORITY_MANGLE = -150;
const HOOK_PREROUTING = 0;
const UDP = 17;
const UDP_CHECKSUM = 6;
const CT = { TARGET: 1, KEY: 2 } as const;
const CT_STATE = 0;
/** NF_CT_STATE_BIT(IP_CT_NEW); the state is one bit. */
const CT_STATE_NEW = 8;
/** The length of an attribute has 16 bits. */
const LIST_BYTES = 60_000;

/** One entry of a map: its key, and what it leads to; undefined: whatever it is, to take it away. */
export interface MapElement {
  readonly key: Buffer;
  readonly data: Buffer | undefined;
}

/** A map from an address to the chain that chooses. */
export function addressToChain(family: Family, table: string, name: string): NetlinkMessage {
  const { bytes, type } = FAMILIES[family];
  return makeMap(family, table, name, { type, length: bytes }, { type: VERDICT, length: 16 });
}

/** A map from an address and a number to an address. */
export function indexToAddress(family: Family, table: string, name: string): NetlinkMessage {
  const { bytes, type } = FAMILIES[family];
  const key = { type: concatenation(type, TYPE.MARK), length: bytes + 4 };
  return makeMap(family, table, name, key, { type, length: bytes });
}

/** A map from an address and two ports to an address and a port; each entry is there for so long. */
export function senderToSender(family: Family, table: string, name: string, forMs: number): NetlinkMessage {
  const { bytes, type } = FAMILIES[family];
  const key = { type: concatenation(type, TYPE.PORT, TYPE.PORT), length: bytes + 8 };
  return makeMap(family, table, name, key, { type: concatenation(type, TYPE.PORT), length: bytes + 4 }, forMs);
}

/** The type of several parts one after another. */
export function concatenation(...types: readonly number[]): number {
  return types.reduce((sum, type) => (sum << TYPE_BITS) | type, 0);
}

export interface MapSide {
  readonly type: number;
  readonly length: number;
}

/** A map; one that is there and the same is no failure. @param forMs how long an entry is there; absent: until it is taken away */
export function makeMap(
  family: Family,
  table: string,
  name: string,
  key: MapSide,
  data: MapSide,
  forMs?: number,
): NetlinkMessage {
  const timeout = Buffer.alloc(8);
  timeout.writeBigUInt64BE(BigInt(forMs ?? 0));
  return {
    what: `make the map "${name}"`,
    ...nft(MSG.NEWSET, NLM_F.CREATE, FAMILIES[family].number, [
      attribute(SET.TABLE, text(table)),
      attribute(SET.NAME, text(name)),
      attribute(SET.FLAGS, u32be(FLAG_MAP | (forMs === undefined ? 0 : FLAG_TIMEOUT))),
      attribute(SET.KEY_TYPE, u32be(key.type)),
      attribute(SET.KEY_LENGTH, u32be(key.length)),
      attribute(SET.DATA_TYPE, u32be(data.type)),
      attribute(SET.DATA_LENGTH, u32be(data.length)),
      attribute(SET.ID, u32be(1)),
      ...(forMs === undefined ? [] : [attribute(SET.TIMEOUT, timeout)]),
    ]),
  };
}

/** Entries of a map are made or taken away: one message for a thousand. @param verb "ensure": one that is there already, and the same, is no failure */
export function changeMap(
  verb: Verb,
  family: Family,
  table: string,
  map: string,
  elements: readonly MapElement[],
): readonly NetlinkMessage[] {
  const bodies = elements.map(({ key, data }) =>
    nested(
      LIST_ELEMENT,
      nested(ELEMENT.KEY, attribute(DATA_VALUE, key)),
      ...(data === undefined ? [] : [nested(ELEMENT.DATA, data)]),
    ),
  );
  return changeElements(verb, family, table, { kind: 'map', name: map }, bodies);
}

/** One entry of a set: a value, or a range. */
export interface SetElement {
  readonly key: Buffer;
  /** The last one of a range whose key has several parts. */
  readonly end?: Buffer;
  /** A range whose key has one part ends before it. */
  readonly endsRange?: boolean;
}

/** Entries of a set are made or taken away. */
export function changeSet(
  verb: 'add' | 'delete',
  family: Family,
  table: string,
  set: string,
  elements: readonly SetElement[],
): readonly NetlinkMessage[] {
  const bodies = elements.map(({ key, end, endsRange }) =>
    nested(
      LIST_ELEMENT,
      nested(ELEMENT.KEY, attribute(DATA_VALUE, key)),
      ...(endsRange === true ? [attribute(ELEMENT.FLAGS, u32be(ENDS_RANGE))] : []),
      ...(end === undefined ? [] : [nested(ELEMENT.KEY_END, attribute(DATA_VALUE, end))]),
    ),
  );
  return changeElements(verb, family, table, { kind: 'set', name: set }, bodies);
}

type Verb = 'add' | 'ensure' | 'delete';

function changeElements(
  verb: Verb,
  family: Family,
  table: string,
  { kind, name }: { readonly kind: 'map' | 'set'; readonly name: string },
  bodies: readonly Buffer[],
): readonly NetlinkMessage[] {
  return chunks(bodies).map((part) => ({
    what: `${verb === 'delete' ? 'take from' : 'add to'} the ${kind} "${name}"`,
    ...nft(
      verb === 'delete' ? MSG.DELSETELEM : MSG.NEWSETELEM,
      { add: NLM_F.CREATE | NLM_F.EXCL, ensure: NLM_F.CREATE, delete: 0 }[verb],
      FAMILIES[family].number,
      [attribute(LIST.TABLE, text(table)), attribute(LIST.SET, text(name)), nested(LIST.ELEMENTS, ...part)],
    ),
  }));
}

/** Takes all entries away. */
export function emptyMap(family: Family, table: string, map: string): NetlinkMessage {
  return {
    what: `empty the map "${map}"`,
    ...nft(MSG.DELSETELEM, 0, FAMILIES[family].number, [
      attribute(LIST.TABLE, text(table)),
      attribute(LIST.SET, text(map)),
    ]),
  };
}

function chunks(texts: readonly Buffer[]): readonly (readonly Buffer[])[] {
  const parts: Buffer[][] = [];
  let bytes = LIST_BYTES;
  for (const one of texts) {
    if (bytes + one.length > LIST_BYTES) {
      parts.push([]);
      bytes = 0;
    }
    parts.at(-1)?.push(one);
    bytes += one.length;
  }
  return parts;
}

/** Key of the entry of an address and a number. */
export function indexKey(address: Buffer, index: number): Buffer {
  return Buffer.concat([address, u32(index)]);
}

/** An entry that leads to an address. */
export function toAddress(address: Buffer): Buffer {
  return attribute(DATA_VALUE, address);
}

/** An entry that leads to a chain. */
export function toChain(chain: string): Buffer {
  return nested(DATA_VERDICT, attribute(VERDICT_PART.CODE, u32be(GOTO)), attribute(VERDICT_PART.CHAIN, text(chain)));
}

/** A counter that rules name. */
export function makeCounter(family: Family, table: string, name: string): NetlinkMessage {
  return {
    what: `make the counter "${name}"`,
    ...nft(MSG.NEWOBJ, NLM_F.CREATE, FAMILIES[family].number, [
      attribute(OBJECT.TABLE, text(table)),
      attribute(OBJECT.NAME, text(name)),
      attribute(OBJECT.TYPE, u32be(COUNTER)),
      nested(OBJECT.DATA),
    ]),
  };
}

/** Asks for the counters of a table. */
export function listCounters(family: Family, table: string): NetlinkMessage {
  return {
    what: `read the counters of "${table}"`,
    ...nft(MSG.GETOBJ, NLM_F.DUMP, FAMILIES[family].number, [
      attribute(OBJECT.TABLE, text(table)),
      attribute(OBJECT.TYPE, u32be(COUNTER)),
    ]),
  };
}

/** Packets that a counter has counted; undefined: there is none of that name among the replies. */
export function packetsOf(replies: readonly NetlinkReply[], name: string): bigint | undefined {
  for (const { type, body } of replies) {
    if (type !== nft(MSG.NEWOBJ, 0, 0, []).type) continue;
    const object = attributes(body, NFGENMSG_BYTES);
    if (readText(object.get(OBJECT.NAME)) !== name) continue;
    return attributes(object.get(OBJECT.DATA) ?? Buffer.alloc(0), 0)
      .get(COUNTER_PACKETS)
      ?.readBigUInt64BE(0);
  }
  return undefined;
}

/** Makes a table. @param fresh one that is there already is a failure (EEXIST) */
export function makeTable(family: Family, table: string, fresh: boolean): NetlinkMessage {
  const flags = NLM_F.CREATE | (fresh ? NLM_F.EXCL : 0);
  return {
    what: `make the table "${table}"`,
    ...nft(MSG.NEWTABLE, flags, FAMILIES[family].number, [attribute(TABLE.NAME, text(table))]),
  };
}

export function deleteTable(family: Family, table: string): NetlinkMessage {
  return {
    what: `remove the table "${table}"`,
    ...nft(MSG.DELTABLE, 0, FAMILIES[family].number, [attribute(TABLE.NAME, text(table))]),
  };
}

/** A chain that others lead to. */
export function makeChain(family: Family, table: string, name: string): NetlinkMessage {
  return {
    what: `make the chain "${name}"`,
    ...nft(MSG.NEWCHAIN, NLM_F.CREATE, FAMILIES[family].number, [
      attribute(CHAIN.TABLE, text(table)),
      attribute(CHAIN.NAME, text(name)),
    ]),
  };
}

/** Takes all rules of a chain away. */
export function emptyChain(family: Family, table: string, name: string): NetlinkMessage {
  return {
    what: `empty the chain "${name}"`,
    ...nft(MSG.DELRULE, 0, FAMILIES[family].number, [
      attribute(RULE.TABLE, text(table)),
      attribute(RULE.CHAIN, text(name)),
    ]),
  };
}

/** The chain goes with its rules; nothing may lead to it. */
export function deleteChain(family: Family, table: string, name: string): NetlinkMessage {
  return {
    what: `remove the chain "${name}"`,
    ...nft(MSG.DELCHAIN, 0, FAMILIES[family].number, [
      attribute(CHAIN.TABLE, text(table)),
      attribute(CHAIN.NAME, text(name)),
    ]),
  };
}

/** A chain that sees the first packet of everything that the namespace's own processes begin. */
export function outputNatChain(family: Family, table: string, name: string): NetlinkMessage {
  return baseChain(family, table, name, { type: 'nat', hook: HOOK_LOCAL_OUT, priority: PRIORITY_DNAT });
}

function baseChain(
  family: Family,
  table: string,
  name: string,
  { type, hook, priority }: { readonly type: string; readonly hook: number; readonly priority: number },
): NetlinkMessage {
  return {
    what: `make the chain "${name}"`,
    ...nft(MSG.NEWCHAIN, NLM_F.CREATE, FAMILIES[family].number, [
      attribute(CHAIN.TABLE, text(table)),
      attribute(CHAIN.NAME, text(name)),
      nested(CHAIN.HOOK, attribute(HOOK.NUMBER, u32be(hook)), attribute(HOOK.PRIORITY, u32be(priority))),
      attribute(CHAIN.TYPE, text(type)),
    ]),
  };
}

/** A chain that sees every packet that comes to the namespace, once its connection is known. */
export function incomingChain(family: Family, table: string, name: string): NetlinkMessage {
  return baseChain(family, table, name, { type: 'filter', hook: HOOK_PREROUTING, priority: PRIORITY_MANGLE });
}

/** `meta l4proto udp ct state new ip saddr . udp dport set ip saddr . udp sport . udp dport map @map`, as nft(8) cannot say it */
export function senderByMap(family: Family, table: string, chain: string, map: string): NetlinkMessage {
  const { bytes, source, checksum } = FAMILIES[family];
  const parts = bytes / 4;
  const found = FIRST_NARROW + 2 * (parts + 2);
  return rule(family, table, chain, [
    loadProtocol(),
    equals(Buffer.from([UDP])),
    expression('ct', attribute(CT.TARGET, u32be(FIRST_WIDE)), attribute(CT.KEY, u32be(CT_STATE))),
    equals(u32(CT_STATE_NEW)),
    load(BASE_NETWORK, source, bytes, FIRST_NARROW),
    load(BASE_TRANSPORT, 0, 2, FIRST_NARROW + parts),
    load(BASE_TRANSPORT, 2, 2, FIRST_NARROW + parts + 1),
    lookup(map, found),
    store(found, { base: BASE_NETWORK, offset: source, length: bytes, checksum, isPseudo: true }),
    store(found + parts, { base: BASE_TRANSPORT, offset: 2, length: 2, checksum: UDP_CHECKSUM }),
  ]);
}

/** `ip daddr vmap @map` */
export function destinationByMap(family: Family, table: string, chain: string, map: string): NetlinkMessage {
  const { bytes, destination } = FAMILIES[family];
  return rule(family, table, chain, [load(BASE_NETWORK, destination, bytes), lookup(map, VERDICT_REGISTER)]);
}

/** `counter name <counter> dnat to ip daddr . numgen random mod <modulus> map @map` */
export function leadToOneOf(
  family: Family,
  table: string,
  chain: string,
  { counter, map, modulus }: { readonly counter: string; readonly map: string; readonly modulus: number },
): NetlinkMessage {
  const { bytes, destination, number } = FAMILIES[family];
  return rule(family, table, chain, [
    expression(
      'objref',
      attribute(OBJECT_REFERENCE.TYPE, u32be(COUNTER)),
      attribute(OBJECT_REFERENCE.NAME, text(counter)),
    ),
    load(BASE_NETWORK, destination, bytes),
    drawNumber(FIRST_NARROW + bytes / 4, modulus),
    lookup(map, FIRST_WIDE),
    expression(
      'nat',
      attribute(NAT.TYPE, u32be(DNAT)),
      attribute(NAT.FAMILY, u32be(number)),
      attribute(NAT.ADDRESS, u32be(FIRST_WIDE)),
    ),
  ]);
}

/** A number below `modulus`, by chance. */
export function drawNumber(target: number, modulus: number): Buffer {
  return expression(
    'numgen',
    attribute(NUMGEN.TARGET, u32be(target)),
    attribute(NUMGEN.MODULUS, u32be(modulus)),
    attribute(NUMGEN.TYPE, u32be(RANDOM)),
  );
}

/** A number below `modulus` that is the same for the same bytes (Jenkins' hash). */
export function hashNumber(source: number, bytes: number, target: number, modulus: number): Buffer {
  return expression(
    'hash',
    attribute(HASH.SOURCE, u32be(source)),
    attribute(HASH.TARGET, u32be(target)),
    attribute(HASH.LENGTH, u32be(bytes)),
    attribute(HASH.MODULUS, u32be(modulus)),
  );
}

/** Leads the connection to the address and port in these registers. */
export function translateTo(family: Family, address: number, port: number): Buffer {
  return expression(
    'nat',
    attribute(NAT.TYPE, u32be(DNAT)),
    attribute(NAT.FAMILY, u32be(FAMILIES[family].number)),
    attribute(NAT.ADDRESS, u32be(address)),
    attribute(NAT.PORT, u32be(port)),
  );
}

/**
 * `meta l4proto tcp reject with tcp reset` and `reject`: the caller is told at once that nobody is there. (That a port cannot be reached
 * comes too early for a socket that is just connecting: Linux would try again for seconds.)
 */
export function refuse(family: Family, table: string, chain: string): readonly NetlinkMessage[] {
  const reject = (type: number, code: number): Buffer =>
    expression('reject', attribute(REJECT.TYPE, u32be(type)), attribute(REJECT.CODE, Buffer.from([code])));
  return [
    rule(family, table, chain, [loadProtocol(), equals(Buffer.from([TCP])), reject(TCP_RESET, 0)]),
    rule(family, table, chain, [reject(ICMP_UNREACHABLE, FAMILIES[family].unreachable)]),
  ];
}

/** What a map has for the key that begins in the first register. */
export function lookup(map: string, target: number): Buffer {
  return expression(
    'lookup',
    attribute(LOOKUP.SET, text(map)),
    attribute(LOOKUP.SOURCE, u32be(FIRST_WIDE)),
    attribute(LOOKUP.TARGET, u32be(target)),
  );
}

/** A rule at the end of a chain. */
export function rule(family: Family, table: string, chain: string, expressions: readonly Buffer[]): NetlinkMessage {
  return {
    what: `make a rule of the chain "${chain}"`,
    ...nft(MSG.NEWRULE, NLM_F.CREATE | NLM_F_APPEND, FAMILIES[family].number, [
      attribute(RULE.TABLE, text(table)),
      attribute(RULE.CHAIN, text(chain)),
      nested(RULE.EXPRESSIONS, ...expressions),
    ]),
  };
}
