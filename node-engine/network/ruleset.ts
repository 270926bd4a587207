/**
 * The node's nftables rules as text (nft(8)): one table of our own, nothing outside it is read or changed. Pure.
 *
 * Kept in sets and maps, so that a packet costs the same for one network or port as for many:
 *   bridges, internal   names of our bridges, and of those without a way out
 *   hardware            network cards that do not forward to each other
 *   guarded             ports of the node that containers do not reach
 *   kept, homes         ports of the mesh whose callers keep their address, and pairs (address of a node, its address in the mesh): who calls
 *                       from a node cannot keep it on the way back there
 *   senders             hardware address of a node in the mesh → mark of what it hands over
 *   same                pairs (bridge, same bridge): nft cannot compare two interfaces
 *   subnets             of all bridges; outgoing: of those with a way out
 *   inside              pairs (bridge, its subnet): what stays within a network
 *   exact_ports, …      published ports: their entries are port-rules.ts's; only the first packet of a connection comes there
 */
import type { GuardedPort, PortForward, PortNode } from '../types.ts';
import { isIPv4 } from 'node:net';
import { macOf } from './address.ts';
import { ECHO_PORT, MESH_NAME, MESH_SUBNET, PROBE_NAME } from './names.ts';
import { MARKS, markOf } from './return-routes.ts';

export interface RulesetBridge {
  /** Of the interface. */
  readonly name: string;
  readonly subnet: string;
  readonly internal: boolean;
  /** Absent: the network has no IPv6. */
  readonly ipv6Subnet?: string;
}

/** What the rules say. */
export interface Ruleset {
  readonly bridges: readonly RulesetBridge[];
  /**
   * Network cards that stay apart, as they were before we turned forwarding on. (Docker sets the policy of FORWARD to DROP
   * for the same reason; that would also stop everybody else's virtual interfaces.)
   */
  readonly hardware: readonly string[];
  /** The same of IPv6. */
  readonly ipv6Hardware: readonly string[];
  /** Ports of the node that nothing in a container reaches. */
  readonly guarded: readonly GuardedPort[];
  /** Ports as nodes hand them to each other, with their callers' addresses. */
  readonly kept: readonly KeptPort[];
  /** The other nodes, while a port is kept. */
  readonly nodes: readonly PortNode[];
  /** Ports lead callers over IPv6 somewhere. */
  readonly ipv6Ports?: boolean;
  /** Calls of the node itself to ::1 are led there, too. */
  readonly ipv6Loopback?: boolean;
}

export interface KeptPort {
  readonly protocol: PortForward['protocol'];
  readonly port: number;
}

export const EMPTY_RULESET: Ruleset = { bridges: [], hardware: [], ipv6Hardware: [], guarded: [], kept: [], nodes: [] };

/** For a table that is not there. Nothing is deleted: the kernel answers a deletion only after a grace period (16 ms). */
export function createRules(table: string, wanted: Ruleset): string {
  return `${baseRules(table)}\n${changeRules(table, EMPTY_RULESET, wanted)}`;
}

/** For a table that is just as `before` says. Empty if nothing changes. */
export function changeRules(table: string, before: Ruleset, wanted: Ruleset): string {
  return elementChanges(before, wanted)
    .map(({ verb, set, keys }) => `${verb} element ip ${table} ${set} { ${keys.join(', ')} }`)
    .join('\n');
}

/** Entries of one set that come or go, as nft(8) writes them: a thousand at once cost little more than one. */
export interface ElementChange {
  readonly verb: 'add' | 'delete';
  readonly set: string;
  readonly keys: readonly string[];
}

/** What differs between two rulesets: nothing but entries of sets. */
export function elementChanges(before: Ruleset, wanted: Ruleset): readonly ElementChange[] {
  const [old, now] = [elementsOf(before), elementsOf(wanted)];
  const bySet = (verb: ElementChange['verb'], of: typeof old, others: typeof old): readonly ElementChange[] => {
    const elements = [...of].filter(([key]) => !others.has(key)).map(([, element]) => element);
    return [...Map.groupBy(elements, ({ set }) => set)].map(([set, members]) => ({
      verb,
      set,
      keys: members.map(({ key }) => key),
    }));
  };
  return [...bySet('delete', old, now), ...bySet('add', now, old)];
}

/** For a table of which nothing is known but that it is ours: makes everything as wanted. Published ports stay as they are. */
export function repairRules(table: string, wanted: Ruleset): string {
  const flush = (kind: string, name: string): string => `flush ${kind} ip ${table} ${name}`;
  return [
    baseRules(table),
    ...['bridges', 'internal', 'guarded', 'same', 'inside', 'subnets', 'outgoing', 'kept', 'homes'].map((name) =>
      flush('set', name),
    ),
    flush('map', 'senders'),
    changeRules(table, EMPTY_RULESET, wanted),
  ].join('\n');
}

/** Removes everything, whether it is there or not. */
export function removeRules(table: string): string {
  return `add table ip ${table}\ndelete table ip ${table}`;
}

/** Table, sets, hooks and fixed rules, made where they are missing. Filters run before the others' tables only by chance: a drop of theirs still counts. */
function baseRules(table: string): string {
  const add = (kind: string, name: string, body: string): string => `add ${kind} ip ${table} ${name} ${body}`;
  const chain = (name: string, hook: string, rules: readonly string[]): readonly string[] => [
    add('chain', name, hook),
    `flush chain ip ${table} ${name}`,
    ...rules.map((rule) => add('rule', name, rule)),
  ];
  return [
    `add table ip ${table}`,
    add('set', 'bridges', '{ type ifname; }'),
    add('set', 'internal', '{ type ifname; }'),
    add('set', 'hardware', '{ type ifname; }'),
    add('set', 'guarded', '{ type inet_proto . inet_service; }'),
    add('set', 'same', '{ type ifname . ifname; }'),
    add('set', 'inside', '{ type ifname . ipv4_addr; flags interval; }'),
    add('set', 'subnets', '{ type ipv4_addr; flags interval; }'),
    add('set', 'outgoing', '{ type ipv4_addr; flags interval; }'),
    add('set', 'kept', '{ type inet_proto . inet_service; }'),
    add('set', 'homes', '{ type ipv4_addr . ipv4_addr; }'),
    add('map', 'senders', '{ type ether_addr : mark; }'),
    add('map', 'exact_ports', '{ type ipv4_addr . inet_proto . inet_service : verdict; }'),
    add('map', 'any_ports', '{ type inet_proto . inet_service : verdict; }'),
    add('map', 'mesh_ports', '{ type inet_proto . inet_service : verdict; }'),

    ...chain('ports', '', [
      'ip daddr . meta l4proto . th dport vmap @exact_ports',
      'meta l4proto . th dport vmap @any_ports',
    ]),
    ...chain('handed', '', ['meta l4proto . th dport vmap @mesh_ports']),
    ...chain('prerouting', '{ type nat hook prerouting priority -100; }', [
      // Another node has chosen this one: it goes no further.
      `iifname "${MESH_NAME}" goto handed`,
      'fib daddr type local goto ports',
    ]),
    ...chain('output', '{ type nat hook output priority -100; }', ['fib daddr type local goto ports']),

    // A connection with its caller's own address remembers which node has handed it over, and its answers go there.
    ...chain('answers', '{ type filter hook prerouting priority -150; }', [
      `iifname "${MESH_NAME}" ct state new ip saddr != ${MESH_SUBNET} ct mark set ether saddr map @senders`,
      `iifname @bridges ct direction reply ct mark and ${hex(MARKS.mask)} == ${hex(MARKS.value)} meta mark set ct mark`,
    ]),
    // The tunnel's own packet would inherit the mark, and take the mesh itself.
    ...chain('unmarked', '{ type filter hook postrouting priority -150; }', [
      `oifname "${MESH_NAME}" meta mark and ${hex(MARKS.mask)} == ${hex(MARKS.value)} meta mark set 0`,
    ]),

    // route_localnet is on for our bridges; nothing that comes from a container may reach the node's loopback by it.
    ...chain('guard', '{ type filter hook prerouting priority -300; }', [
      'iifname @bridges ip daddr 127.0.0.0/8 drop',
      `iifname "${MESH_NAME}" ip daddr 127.0.0.0/8 drop`,
      untracked('ip'),
    ]),

    // The mesh carries published ports and what answers them, the tunnel that tries the way to others what tries it; nothing else.
    ...chain('input', '{ type filter hook input priority 0; }', [
      `iifname "${PROBE_NAME}" udp dport ${ECHO_PORT} accept`,
      `iifname "${PROBE_NAME}" ct state new drop`,
      `iifname "${MESH_NAME}" ct state new ip protocol != icmp reject`,
    ]),

    ...chain('protect', '{ type filter hook input priority 0; }', INPUT_RULES),

    ...chain('forward', '{ type filter hook forward priority 0; }', [
      'iifname . oifname @same accept',
      FORGED_RULE,
      'iifname @hardware oifname @hardware drop',
      'iifname @internal drop',
      'oifname @internal drop',
      `iifname "${MESH_NAME}" ct status dnat accept`,
      `oifname "${MESH_NAME}" ct status dnat accept`,
      `iifname "${MESH_NAME}" drop`,
      `oifname "${MESH_NAME}" drop`,
      `iifname "${PROBE_NAME}" drop`,
      `oifname "${PROBE_NAME}" drop`,
      'iifname != @bridges oifname != @bridges accept',
      'ct state established,related accept',
      'ct status dnat accept',
      // Into our networks only by published ports, be it from outside or from another network.
      'oifname @bridges drop',
    ]),

    ...chain('postrouting', '{ type nat hook postrouting priority 100; }', [
      // A node would take its own address for a forged one, and answer it without asking us; 127.0.0.1 and containers are known here only.
      `ct status dnat oifname "${MESH_NAME}" ip saddr . ip daddr != @homes ip saddr != @subnets ip saddr != 127.0.0.0/8 meta l4proto . th dport @kept accept`,
      // Other nodes know how to answer this one, not its callers.
      `ct status dnat oifname "${MESH_NAME}" masquerade`,
      // A container that calls a published port: the backend may reach it directly, and must answer by us.
      'ct status dnat ip saddr @subnets masquerade',
      // The node itself calls one, from 127.0.0.1 for instance.
      'ct status dnat fib saddr type local oifname @bridges masquerade',
      'ip saddr @outgoing oifname != @bridges masquerade',
    ]),
  ].join('\n');
}

/**
 * What one container sends to another of its network is bridged. Where net.bridge.bridge-nf-call-iptables is on, which a bridge cannot turn off
 * for itself, it passes these hooks all the same: there is nothing to translate, and no connection of it fills the node's table.
 */
export const untracked = (family: 'ip' | 'ip6'): string =>
  `iifname . ${family} daddr @inside fib daddr type != local notrack`;

/** What comes from containers for the node itself: not for its control plane; from an internal network for nothing. */
export const INPUT_RULES: readonly string[] = [
  'iifname != @bridges accept',
  'ct state established,related accept',
  'meta l4proto tcp meta l4proto . th dport @guarded reject with tcp reset',
  'meta l4proto . th dport @guarded drop',
  'iifname @internal drop',
];

/** Other nodes would take it for this node's own, whose address it gets on its way out. */
export const FORGED_RULE = 'iifname @bridges meta l4proto udp meta l4proto . th dport @guarded drop';

interface Element {
  readonly set: string;
  readonly key: string;
}

/** By set and key. */
function elementsOf({ bridges, hardware, guarded, kept, nodes }: Ruleset): ReadonlyMap<string, Element> {
  const elements: Element[] = bridges.flatMap(({ name, subnet, internal }) => [
    { set: 'bridges', key: quoted(name) },
    { set: 'same', key: `${quoted(name)} . ${quoted(name)}` },
    { set: 'inside', key: `${quoted(name)} . ${subnet}` },
    { set: 'subnets', key: subnet },
    internal ? { set: 'internal', key: quoted(name) } : { set: 'outgoing', key: subnet },
  ]);
  for (const { protocol, port } of guarded) elements.push({ set: 'guarded', key: `${protocol} . ${port}` });
  for (const { protocol, port } of kept) elements.push({ set: 'kept', key: `${protocol} . ${port}` });
  for (const { addresses, meshAddress } of nodes) {
    for (const address of addresses)
      if (isIPv4(address)) elements.push({ set: 'homes', key: `${address} . ${meshAddress}` });
    elements.push({ set: 'senders', key: `${macOf(meshAddress)} : ${hex(markOf(meshAddress))}` });
  }
  for (const name of hardware) elements.push({ set: 'hardware', key: quoted(name) });
  return new Map(elements.map((element) => [`${element.set} ${element.key}`, element]));
}

export const hex = (value: number): string => `0x${(value >>> 0).toString(16).padStart(8, '0')}`;

/** Names of interfaces are quoted: nft would read some of them as keywords. */
function quoted(name: string): string {
  return `"${name}"`;
}
