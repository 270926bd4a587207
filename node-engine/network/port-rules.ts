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
 *   chain <kind>_keep     the same by jhash of the caller's address, over SHARES entries
 */
import type { PortForward } from '../types.ts';
import { addressBytes } from './address.ts';
import type { MapElement } from './balance/messages.ts';
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
import { load, loadProtocol, transaction } from './nfnetlink.ts';

type Backend = PortForward['backends'][number];

const KINDS = ['exact', 'any', 'mesh'] as const;
type Kind = (typeof KINDS)[number];

const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;
/** Callers that shall keep to one backend are divided into so many groups by their address. */
const SHARES = 256;
const BASE_NETWORK = 1;
const BASE_TRANSPORT = 2;
const SOURCE_ADDRESS = 12;
const DESTINATION_ADDRESS = 16;
const DESTINATION_PORT = 2;

/** Changes ports that are just as `before` says; empty: nothing changes. */
export function changePorts(
  table: string,
  before: readonly PortForward[],
  wanted: readonly PortForward[],
): readonly NetlinkMessage[] {
  const messages = between(table, before, wanted, false);
  return messages.length === 0 ? [] : transaction(messages);
}

/** Makes the ports as wanted in a table of which nothing is known but that it is there: without a moment in which one is missing. */
export function wholePorts(table: string, wanted: readonly PortForward[]): readonly NetlinkMessage[] {
  return transaction([
    ...KINDS.map((kind) => backendsMap(table, kind)),
    ...KINDS.flatMap((kind) => [emptyMap('ip', table, `${kind}_ports`), emptyMap('ip', table, `${kind}_backends`)]),
    ...between(table, [], wanted, true),
  ]);
}

/** @param isUnsure chains may be there with any content */
function between(
  table: string,
  before: readonly PortForward[],
  wanted: readonly PortForward[],
  isUnsure: boolean,
): readonly NetlinkMessage[] {
  const [old, now] = [entriesOf(before), entriesOf(wanted)];
  const gone = [...old].filter(([name, { value }]) => now.get(name)?.value !== value).map(([, entry]) => entry);
  const come = [...now].filter(([name, { value }]) => old.get(name)?.value !== value).map(([, entry]) => entry);
  const [had, has] = [chainsOf(before), chainsOf(wanted)];
  const write = (verb: 'add' | 'delete', entries: readonly Entry[]): readonly NetlinkMessage[] =>
    [...Map.groupBy(entries, ({ map }) => map)].flatMap(([map, members]) => changeMap(verb, 'ip', table, map, members));
  return [
    ...write(
      'delete',
      gone.map((entry) => ({ ...entry, data: undefined })),
    ),
    ...[...has].flatMap(([name, port]) =>
      had.has(name)
        ? []
        : [
            makeChain('ip', table, name),
            ...(isUnsure ? [emptyChain('ip', table, name)] : []),
            rule('ip', table, name, choice(port)),
          ],
    ),
    ...write('add', come),
    ...[...had.keys()].flatMap((name) => (has.has(name) ? [] : [deleteChain('ip', table, name)])),
  ];
}

function backendsMap(table: string, kind: Kind): NetlinkMessage {
  const key = [...(kind === 'exact' ? [TYPE.ADDRESS] : []), TYPE.PROTOCOL, TYPE.PORT, TYPE.MARK];
  return makeMap(
    'ip',
    table,
    `${kind}_backends`,
    { type: concatenation(...key), length: key.length * 4 },
    { type: concatenation(TYPE.ADDRESS, TYPE.PORT), length: 8 },
  );
}

/** `dnat ip to <key> . numgen random mod <n> map @<kind>_backends` */
function choice({ kind, shares, keeps }: Port): readonly Buffer[] {
  const [address, protocol] = kind === 'exact' ? [FIRST_NARROW, FIRST_NARROW + 1] : [undefined, FIRST_NARROW];
  const number = protocol + 2;
  const source = number + 1;
  return [
    ...(address === undefined ? [] : [load(BASE_NETWORK, DESTINATION_ADDRESS, 4, address)]),
    loadProtocol(protocol),
    load(BASE_TRANSPORT, DESTINATION_PORT, 2, protocol + 1),
    ...(keeps
      ? [load(BASE_NETWORK, SOURCE_ADDRESS, 4, source), hashNumber(source, number, SHARES)]
      : [drawNumber(number, shares.length)]),
    lookup(`${kind}_backends`, FIRST_WIDE),
    translateTo(FIRST_NARROW, FIRST_NARROW + 1),
  ];
}

/** Of a map. */
interface Entry extends MapElement {
  readonly map: string;
  /** Equal data, equal text. */
  readonly value: string;
}

/** By map and key. */
function entriesOf(forwards: readonly PortForward[]): ReadonlyMap<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const port of forwards.flatMap(portsOf)) {
    const chain = chainOf(port);
    const ports = `${port.kind}_ports`;
    entries.set(`${ports} ${port.name}`, { map: ports, key: port.key, data: toChain(chain), value: chain });
    const map = `${port.kind}_backends`;
    for (const [index, { ipv4, port: number }] of port.shares.entries()) {
      const data = toAddress(Buffer.concat([addressBytes(ipv4), portBytes(number)]));
      entries.set(`${map} ${port.name} ${index}`, {
        map,
        key: indexKey(port.key, index),
        data,
        value: `${ipv4} ${number}`,
      });
    }
  }
  return entries;
}

/** The chains that ports need, each with a port that does. */
function chainsOf(forwards: readonly PortForward[]): ReadonlyMap<string, Port> {
  return new Map(forwards.flatMap(portsOf).map((port) => [chainOf(port), port]));
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

interface Port {
  readonly kind: Kind;
  readonly key: Buffer;
  /** Equal keys, equal names. */
  readonly name: string;
  /** What each number leads to. */
  readonly shares: readonly Backend[];
  readonly keeps: boolean;
}

function portsOf({
  protocol,
  hostIp,
  port,
  meshPort = port,
  backends,
  meshBackends = [],
  affinity,
}: PortForward): readonly Port[] {
  const keeps = affinity === 'client';
  const one = (kind: Kind, of: readonly Backend[]): readonly Port[] => {
    if (of.length === 0) return [];
    const number = Buffer.concat([
      Buffer.from([PROTOCOLS[protocol], 0, 0, 0]),
      portBytes(kind === 'mesh' ? meshPort : port),
    ]);
    const key = kind === 'exact' ? Buffer.concat([addressBytes(hostIp), number]) : number;
    return [{ kind, key, name: key.toString('hex'), shares: keeps ? shared(of) : of, keeps }];
  };
  return [...one(hostIp === '' ? 'any' : 'exact', backends), ...one('mesh', meshBackends)];
}

function chainOf({ kind, shares, keeps }: Port): string {
  return keeps ? `${kind}_keep` : `${kind}_${shares.length}`;
}

/** Each group of callers goes to the backend that weighs most for it: one that comes or goes moves few (rendezvous hashing). */
function shared(backends: readonly Backend[]): readonly Backend[] {
  const weighed = backends.map((backend) => ({ backend, seed: hash(`${backend.ipv4} ${backend.port}`, 0) }));
  return Array.from({ length: SHARES }, (_, group) => {
    let best = { backend: backends[0] as Backend, weight: -1 };
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
