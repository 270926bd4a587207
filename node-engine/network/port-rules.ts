/**
 * The part of the node's rules that leads published ports to their backends, as requests. Pure.
 *
 * Three kinds of ports, each with the same maps and chains, so that a backend that comes or goes changes a few entries, however many
 * others there are:
 *   exact   on one address of the node       key: ip daddr . meta l4proto . th dport
 *   any     on all addresses                 key: meta l4proto . th dport
 *   mesh    what other nodes hand over       key: as any, with the mesh's number; to backends of this node only
 *
 *   map <kind>_ports      { key : goto <kind>_<n> }      n: how many backends the port has; made with the table (ruleset.ts)
 *   map <kind>_backends   { key . 0…n-1 : address . port }
 *   chain <kind>_<n>      dnat ip to key . numgen random mod n map @<kind>_backends
 *                         dnat ip to key . numgen random mod 1 map @<kind>_backends, for a packet between two changes (balance/table.ts)
 *   chain <kind>_keep     the same by jhash of the caller's address, over SHARES entries
 */
import type { PortForward } from '../types.ts';
import { addressBytes } from './address.ts';
import { isIPv4 } from 'node:net';
import type { Family, MapElement } from './balance/messages.ts';
import {
  FIRST_NARROW,
  FIRST_WIDE,
  TYPE,
  changeMap,
  concatenation,
  deleteChain,
  drawNumber,
  emptyChain,
  emptyMap,
  hashNumber,
  indexKey,
  lookup,
  makeChain,
  makeMap,
  rule,
  toAddress,
  toChain,
  translateTo,
} from './balance/messages.ts';
import { keepPlaces } from './balance/places.ts';
import type { NetlinkMessage } from './netlink.ts';
import { load, loadProtocol, transactions } from './nfnetlink.ts';

type Backend = PortForward['backends'][number];

const KINDS = ['exact', 'any', 'mesh'] as const;
type Kind = (typeof KINDS)[number];

const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;
/** Callers that shall keep to one backend are divided into so many groups by their address. */
const SHARES = 256;
const BASE_NETWORK = 1;
const BASE_TRANSPORT = 2;
/** Where addresses stand in the header, and how long they are; nft(8)'s number of their type. */
const FAMILIES = {
  ip: { source: 12, destination: 16, bytes: 4, type: TYPE.ADDRESS },
  ip6: { source: 8, destination: 24, bytes: 16, type: TYPE.ADDRESS6 },
} as const;
const ANY_ADDRESS: readonly string[] = ['', '0.0.0.0', '::'];
const DESTINATION_PORT = 2;

/** Changes ports that are just as `before` says; empty: nothing changes. */
export function changePorts(
  table: string,
  before: readonly PortForward[],
  wanted: readonly PortForward[],
  families: readonly Family[] = ['ip'],
): readonly NetlinkMessage[] {
  const made: NetlinkMessage[] = [];
  const changed: NetlinkMessage[] = [];
  for (const family of families) {
    const { chains, entries } = between(family, table, before, wanted, false);
    // The table of IPv6 may be new.
    const isNew = family === 'ip6' && chains.length > 0 && !hasIpv6Ports(before);
    if (isNew) made.push(...KINDS.map((kind) => backendsMap(family, table, kind)));
    made.push(...chains);
    changed.push(...entries);
  }
  return transactions(made, changed);
}

/** Whether any leads callers over IPv6 somewhere. */
export const hasIpv6Ports = (forwards: readonly PortForward[]): boolean =>
  forwards.some((forward) => portsOf('ip6', forward).length > 0);

/** Makes the ports as wanted in a table of which nothing is known but that it is there: without a moment in which one is missing. */
export function wholePorts(
  table: string,
  wanted: readonly PortForward[],
  families: readonly Family[] = ['ip'],
): readonly NetlinkMessage[] {
  const parts = families.map((family) => ({ family, ...between(family, table, [], wanted, true) }));
  return transactions(
    parts.flatMap(({ family, chains }) => [...KINDS.map((kind) => backendsMap(family, table, kind)), ...chains]),
    parts.flatMap(({ family, entries }) => [
      ...KINDS.flatMap((kind) => [
        emptyMap(family, table, `${kind}_ports`),
        emptyMap(family, table, `${kind}_backends`),
      ]),
      ...entries,
    ]),
  );
}

/**
 * @param isUnsure chains may be there with any content
 * @returns what makes chains that are missing, to be carried out first (see {@link transactions}), and what leads to them and away from others
 */
function between(
  family: Family,
  table: string,
  before: readonly PortForward[],
  wanted: readonly PortForward[],
  isUnsure: boolean,
): { readonly chains: readonly NetlinkMessage[]; readonly entries: readonly NetlinkMessage[] } {
  const [old, now] = [entriesOf(family, before), entriesOf(family, wanted)];
  const gone = [...old].filter(([name, { value }]) => now.get(name)?.value !== value).map(([, entry]) => entry);
  const come = [...now].filter(([name, { value }]) => old.get(name)?.value !== value).map(([, entry]) => entry);
  const [had, has] = [chainsOf(family, before), chainsOf(family, wanted)];
  const write = (verb: 'add' | 'delete', entries: readonly Entry[]): readonly NetlinkMessage[] =>
    [...Map.groupBy(entries, ({ map }) => map)].flatMap(([map, members]) =>
      changeMap(verb, family, table, map, members),
    );
  return {
    chains: [...has].flatMap(([name, port]) =>
      had.has(name)
        ? []
        : [
            makeChain(family, table, name),
            ...(isUnsure ? [emptyChain(family, table, name)] : []),
            ...choices(family, port).map((expressions) => rule(family, table, name, expressions)),
          ],
    ),
    entries: [
      ...write(
        'delete',
        gone.map((entry) => ({ ...entry, data: undefined })),
      ),
      ...write('add', come),
      ...[...had.keys()].flatMap((name) => (has.has(name) ? [] : [deleteChain(family, table, name)])),
    ],
  };
}

function backendsMap(family: Family, table: string, kind: Kind): NetlinkMessage {
  const { bytes, type } = FAMILIES[family];
  const key = [TYPE.PROTOCOL, TYPE.PORT, TYPE.MARK];
  const isExact = kind === 'exact';
  return makeMap(
    family,
    table,
    `${kind}_backends`,
    { type: concatenation(...(isExact ? [type] : []), ...key), length: key.length * 4 + (isExact ? bytes : 0) },
    { type: concatenation(type, TYPE.PORT), length: bytes + 4 },
  );
}

/** The rules of a chain: what the first does not find, because it is being taken away, the second does. */
function choices(family: Family, port: Port): readonly (readonly Buffer[])[] {
  const { length } = port.shares;
  return (port.keeps || length === 1 ? [length] : [length, 1]).map((modulus) => choice(family, port, modulus));
}

/** `dnat ip to <key> . numgen random mod <modulus> map @<kind>_backends` */
function choice(family: Family, { kind, keeps }: Port, modulus: number): readonly Buffer[] {
  const { bytes, source: sourceAt, destination } = FAMILIES[family];
  const words = bytes / 4;
  const [address, protocol] = kind === 'exact' ? [FIRST_NARROW, FIRST_NARROW + words] : [undefined, FIRST_NARROW];
  const number = protocol + 2;
  const source = number + 1;
  return [
    ...(address === undefined ? [] : [load(BASE_NETWORK, destination, bytes, address)]),
    loadProtocol(protocol),
    load(BASE_TRANSPORT, DESTINATION_PORT, 2, protocol + 1),
    ...(keeps
      ? [load(BASE_NETWORK, sourceAt, bytes, source), hashNumber(source, bytes, number, SHARES)]
      : [drawNumber(number, modulus)]),
    lookup(`${kind}_backends`, FIRST_WIDE),
    translateTo(family, FIRST_NARROW, FIRST_NARROW + words),
  ];
}

/** Of a map. */
interface Entry extends MapElement {
  readonly map: string;
  /** Equal data, equal text. */
  readonly value: string;
}

/** By map and key. */
function entriesOf(family: Family, forwards: readonly PortForward[]): ReadonlyMap<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const port of forwards.flatMap((forward) => portsOf(family, forward))) {
    const chain = chainOf(port);
    const ports = `${port.kind}_ports`;
    entries.set(`${ports} ${port.name}`, { map: ports, key: port.key, data: toChain(chain), value: chain });
    const map = `${port.kind}_backends`;
    for (const [index, { address, port: number }] of port.shares.entries()) {
      const data = toAddress(Buffer.concat([addressBytes(address), portBytes(number)]));
      entries.set(`${map} ${port.name} ${index}`, {
        map,
        key: indexKey(port.key, index),
        data,
        value: `${address} ${number}`,
      });
    }
  }
  return entries;
}

/** The chains that ports need, each with a port that does. */
function chainsOf(family: Family, forwards: readonly PortForward[]): ReadonlyMap<string, Port> {
  const ports = forwards.flatMap((forward) => portsOf(family, forward));
  return new Map(ports.map((port) => [chainOf(port), port]));
}

/** Fills a register. */
function portBytes(port: number): Buffer {
  return Buffer.from([port >> 8, port & 255, 0, 0]);
}

/**
 * The wanted ports with their backends in the order in which they were, as far as they are the same: what stays keeps its number.
 */
export function inOrderOf(before: readonly PortForward[], wanted: readonly PortForward[]): readonly PortForward[] {
  const known = new Map(before.map((forward) => [keyOf(forward), forward]));
  return wanted.map((forward) => {
    const old = known.get(keyOf(forward));
    if (old === undefined) return forward;
    return {
      ...forward,
      backends: ordered(old.backends, forward.backends),
      ...(forward.meshBackends === undefined
        ? {}
        : { meshBackends: ordered(old.meshBackends ?? [], forward.meshBackends) }),
    };
  });
}

const keyOf = ({ protocol, hostIp, port }: PortForward): string => `${protocol}/${hostIp}/${port}`;

function ordered(before: readonly Backend[], wanted: readonly Backend[]): readonly Backend[] {
  const byName = named(wanted);
  return keepPlaces([...named(before).keys()], [...byName.keys()]).flatMap((name) => byName.get(name) ?? []);
}

/** One that stands there several times, for its weight, is as many. */
function named(backends: readonly Backend[]): ReadonlyMap<string, Backend> {
  const times = new Map<string, number>();
  return new Map(
    backends.map((backend) => {
      const name = `${backend.ipv4} ${backend.port}`;
      const time = (times.get(name) ?? 0) + 1;
      times.set(name, time);
      return [`${name} ${time}`, backend];
    }),
  );
}

/** Where a call is led to. */
interface Share {
  readonly address: string;
  readonly port: number;
}

interface Port {
  readonly kind: Kind;
  readonly key: Buffer;
  /** Equal keys, equal names. */
  readonly name: string;
  /** What each number leads to. */
  readonly shares: readonly Share[];
  readonly keeps: boolean;
}

function portsOf(family: Family, forward: PortForward): readonly Port[] {
  const { protocol, hostIp, port, meshPort = port, backends, meshBackends = [], affinity } = forward;
  if (hostIp !== '' && isIPv4(hostIp) !== (family === 'ip')) return [];
  const keeps = affinity === 'client';
  const one = (kind: Kind, among: readonly Backend[]): readonly Port[] => {
    const of = among.flatMap(({ ipv4, ipv6, port: at }): readonly Share[] => {
      const address = family === 'ip' ? ipv4 : ipv6;
      return address === undefined ? [] : [{ address, port: at }];
    });
    if (of.length === 0) return [];
    const number = Buffer.concat([
      Buffer.from([PROTOCOLS[protocol], 0, 0, 0]),
      portBytes(kind === 'mesh' ? meshPort : port),
    ]);
    const key = kind === 'exact' ? Buffer.concat([addressBytes(hostIp), number]) : number;
    return [{ kind, key, name: key.toString('hex'), shares: keeps ? shared(of) : of, keeps }];
  };
  return [...one(ANY_ADDRESS.includes(hostIp) ? 'any' : 'exact', backends), ...one('mesh', meshBackends)];
}

function chainOf({ kind, shares, keeps }: Port): string {
  return keeps ? `${kind}_keep` : `${kind}_${shares.length}`;
}

/** Each group of callers goes to the backend that weighs most for it: one that comes or goes moves few (rendezvous hashing). */
function shared(backends: readonly Share[]): readonly Share[] {
  const weighed = backends.map((backend) => ({ backend, seed: hash(`${backend.address} ${backend.port}`, 0) }));
  return Array.from({ length: SHARES }, (_, group) => {
    let best = { backend: backends[0] as Share, weight: -1 };
    for (const { backend, seed } of weighed) {
      const weight = hash(String(group), seed);
      if (weight > best.weight) best = { backend, weight };
    }
    return best.backend;
  });
}

/** FNV-1a, with the last bits mixed into all (MurmurHash3's finish): same text, same number. */
function hash(text: string, seed: number): number {
  let value = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
