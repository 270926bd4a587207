/**
 * The node's rules for IPv6 as text (nft(8)), in a table of our own that is there while a bridge has IPv6: the same as those of
 * ruleset.ts, with the same names. Pure.
 */
import type { Ruleset, RulesetBridge } from './ruleset.ts';
import { isIPv4 } from 'node:net';
import { MESH_IPV6_SUBNET, meshIpv6 } from '../../base/mesh-address.ts';
import { macOf } from './address.ts';
import { ECHO_PORT, MESH_NAME } from './names.ts';
import { MARKS, markOf } from './return-routes.ts';
import { FORGED_RULE, INPUT_RULES, hex, untracked } from './ruleset.ts';

type Ipv6Bridge = RulesetBridge & { readonly ipv6Subnet: string };

/** Whether there is anything for the table to do. */
export function needsIpv6(rules: Ruleset): boolean {
  return rules.ipv6Ports === true || bridgesOf(rules).length > 0;
}

/** For a table that is not there. */
export function createIpv6Rules(table: string, wanted: Ruleset): string {
  return lines([baseRules(table), changes(table, [], elementsOf(wanted))]);
}

/** For a table that is just as `before` says, missing where that needs none. Empty if nothing changes. */
export function changeIpv6Rules(table: string, before: Ruleset, wanted: Ruleset): string {
  if (!needsIpv6(wanted)) return needsIpv6(before) ? removeIpv6Rules(table) : '';
  if (!needsIpv6(before)) return createIpv6Rules(table, wanted);
  return changes(table, elementsOf(before), elementsOf(wanted));
}

/** For a table of which nothing is known. @param exists whether it is there */
export function repairIpv6Rules(table: string, wanted: Ruleset, exists: boolean): string {
  if (!needsIpv6(wanted)) return exists ? removeIpv6Rules(table) : '';
  return lines([
    baseRules(table),
    ...SETS.map((name) => `flush ${name === 'senders' ? 'map' : 'set'} ip6 ${table} ${name}`),
    changes(table, [], elementsOf(wanted)),
  ]);
}

export function removeIpv6Rules(table: string): string {
  return `delete table ip6 ${table}`;
}

const NEIGHBOUR_RULE = 'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept';

const SETS = [
  'bridges',
  'internal',
  'guarded',
  'hardware',
  'same',
  'inside',
  'subnets',
  'outgoing',
  'looped',
  'kept',
  'homes',
  'senders',
] as const;

/** Table, sets, hooks and fixed rules, made where they are missing. */
function baseRules(table: string): string {
  const add = (kind: string, name: string, body: string): string => `add ${kind} ip6 ${table} ${name} ${body}`;
  const chain = (name: string, hook: string, rules: readonly string[]): readonly string[] => [
    add('chain', name, hook),
    `flush chain ip6 ${table} ${name}`,
    ...rules.map((rule) => add('rule', name, rule)),
  ];
  return lines([
    `add table ip6 ${table}`,
    add('set', 'bridges', '{ type ifname; }'),
    add('set', 'internal', '{ type ifname; }'),
    add('set', 'hardware', '{ type ifname; }'),
    add('set', 'guarded', '{ type inet_proto . inet_service; }'),
    add('set', 'same', '{ type ifname . ifname; }'),
    add('set', 'inside', '{ type ifname . ipv6_addr; flags interval; }'),
    add('set', 'subnets', '{ type ipv6_addr; flags interval; }'),
    add('set', 'outgoing', '{ type ipv6_addr; flags interval; }'),
    add('set', 'looped', '{ type ipv6_addr; }'),
    add('set', 'kept', '{ type inet_proto . inet_service; }'),
    add('set', 'homes', '{ type ipv6_addr . ipv6_addr; }'),
    add('map', 'senders', '{ type ether_addr : mark; }'),
    add('map', 'exact_ports', '{ type ipv6_addr . inet_proto . inet_service : verdict; }'),
    add('map', 'any_ports', '{ type inet_proto . inet_service : verdict; }'),
    add('map', 'mesh_ports', '{ type inet_proto . inet_service : verdict; }'),

    ...chain('ports', '', [
      'ip6 daddr . meta l4proto . th dport vmap @exact_ports',
      'meta l4proto . th dport vmap @any_ports',
    ]),
    ...chain('handed', '', ['meta l4proto . th dport vmap @mesh_ports']),
    ...chain('prerouting', '{ type nat hook prerouting priority -100; }', [
      `iifname "${MESH_NAME}" goto handed`,
      'fib daddr type local goto ports',
    ]),
    ...chain('output', '{ type nat hook output priority -100; }', [
      'ip6 daddr @looped goto ports',
      'ip6 daddr != ::1 fib daddr type local goto ports',
    ]),

    ...chain('answers', '{ type filter hook prerouting priority -150; }', [
      `iifname "${MESH_NAME}" ct state new ip6 saddr != ${MESH_IPV6_SUBNET} ct mark set ether saddr map @senders`,
      `iifname @bridges ct direction reply ct mark and ${hex(MARKS.mask)} == ${hex(MARKS.value)} meta mark set ct mark`,
    ]),
    ...chain('unmarked', '{ type filter hook postrouting priority -150; }', [
      `oifname "${MESH_NAME}" meta mark and ${hex(MARKS.mask)} == ${hex(MARKS.value)} meta mark set 0`,
    ]),

    ...chain('guard', '{ type filter hook prerouting priority -300; }', [untracked('ip6')]),

    // Without neighbour discovery nothing would reach the gateway, nor the gateway anything.
    ...chain('input', '{ type filter hook input priority 0; }', [
      `iifname "${MESH_NAME}" udp dport ${ECHO_PORT} accept`,
      `iifname "${MESH_NAME}" ct state new meta l4proto != ipv6-icmp reject`,
    ]),

    ...chain('protect', '{ type filter hook input priority 0; }', [NEIGHBOUR_RULE, ...INPUT_RULES]),

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
      'iifname != @bridges oifname != @bridges accept',
      'ct state established,related accept',
      'ct status dnat accept',
      'oifname @bridges drop',
    ]),

    ...chain('postrouting', '{ type nat hook postrouting priority 100; }', [
      `ct status dnat oifname "${MESH_NAME}" ip6 saddr . ip6 daddr != @homes ip6 saddr != @subnets ip6 saddr != ::1 meta l4proto . th dport @kept accept`,
      `ct status dnat oifname "${MESH_NAME}" masquerade`,
      'ct status dnat ip6 saddr @subnets masquerade',
      'ct status dnat fib saddr type local oifname @bridges masquerade',
      'ip6 saddr @outgoing oifname != @bridges masquerade',
    ]),
  ]);
}

interface Element {
  readonly set: (typeof SETS)[number];
  readonly key: string;
}

function bridgesOf({ bridges }: Ruleset): readonly Ipv6Bridge[] {
  return bridges.filter((bridge): bridge is Ipv6Bridge => bridge.ipv6Subnet !== undefined);
}

function elementsOf(rules: Ruleset): readonly Element[] {
  return [
    ...bridgesOf(rules).flatMap(({ name, ipv6Subnet, internal }): Element[] => [
      { set: 'bridges', key: `"${name}"` },
      { set: 'same', key: `"${name}" . "${name}"` },
      { set: 'inside', key: `"${name}" . ${ipv6Subnet}` },
      { set: 'subnets', key: ipv6Subnet },
      internal ? { set: 'internal', key: `"${name}"` } : { set: 'outgoing', key: ipv6Subnet },
    ]),
    ...rules.guarded.map(({ protocol, port }): Element => ({ set: 'guarded', key: `${protocol} . ${port}` })),
    ...(rules.ipv6Loopback === true ? [{ set: 'looped', key: '::1' } as const] : []),
    ...rules.kept.map(({ protocol, port }): Element => ({ set: 'kept', key: `${protocol} . ${port}` })),
    ...rules.nodes.flatMap(({ addresses, meshAddress }): Element[] => [
      ...addresses
        .filter((address) => !isIPv4(address))
        .map((address): Element => ({ set: 'homes', key: `${address} . ${meshIpv6(meshAddress)}` })),
      { set: 'senders', key: `${macOf(meshAddress)} : ${hex(markOf(meshAddress))}` },
    ]),
    ...rules.ipv6Hardware.map((name): Element => ({ set: 'hardware', key: `"${name}"` })),
  ];
}

function changes(table: string, before: readonly Element[], wanted: readonly Element[]): string {
  const keyOf = ({ set, key }: Element): string => `${set} ${key}`;
  const [old, now] = [new Set(before.map(keyOf)), new Set(wanted.map(keyOf))];
  const write = (verb: 'add' | 'delete', elements: readonly Element[]): readonly string[] =>
    SETS.flatMap((set) => {
      const keys = elements.flatMap((element) => (element.set === set ? [element.key] : []));
      return keys.length === 0 ? [] : [`${verb} element ip6 ${table} ${set} { ${keys.join(', ')} }`];
    });
  return lines([
    ...write(
      'delete',
      before.filter((element) => !now.has(keyOf(element))),
    ),
    ...write(
      'add',
      wanted.filter((element) => !old.has(keyOf(element))),
    ),
  ]);
}

function lines(all: readonly string[]): string {
  return all.filter((line) => line !== '').join('\n');
}
