/**
 * The node's nftables rules as text (nft(8)): one table of our own, nothing outside it is read or changed. Each text may be
 * applied at any time and any number of times: it makes what is missing and leaves what is there. Pure.
 *
 * Kept in sets and maps, so that a packet costs the same for one network or port as for many:
 *   bridges, internal   names of our bridges, and of those without a way out
 *   hardware            network cards that are not to forward to each other, see `keepApart`
 *   same                pairs (bridge, same bridge): nft cannot compare two interfaces
 *   subnets             of all bridges; outgoing: of those with a way out
 *   exact, any          (protocol, [address,] port) → backend, for ports with one backend
 * Ports with several backends are rules of the chain `balanced`; only the first packet of a connection comes there.
 */
import type { PortForward } from '../types.ts';

export interface RulesetBridge {
  /** Of the interface. */
  readonly name: string;
  readonly subnet: string;
  readonly internal: boolean;
}

/** Tables, sets, hooks and fixed rules. Filters run before the others' tables only by chance: a drop of theirs still counts. */
export function baseRules(table: string): string {
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
    add('set', 'same', '{ type ifname . ifname; }'),
    add('set', 'subnets', '{ type ipv4_addr; flags interval; }'),
    add('set', 'outgoing', '{ type ipv4_addr; flags interval; }'),
    add('map', 'any', '{ type inet_proto . inet_service : ipv4_addr . inet_service; }'),
    add('map', 'exact', '{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }'),
    add('chain', 'balanced', ''),

    ...chain('ports', '', [
      'dnat ip to ip daddr . meta l4proto . th dport map @exact',
      'dnat ip to meta l4proto . th dport map @any',
      'goto balanced',
    ]),
    ...chain('prerouting', '{ type nat hook prerouting priority -100; }', ['fib daddr type local goto ports']),
    ...chain('output', '{ type nat hook output priority -100; }', ['fib daddr type local goto ports']),

    // route_localnet is on for our bridges; nothing that comes from a container may reach the node's loopback by it.
    ...chain('guard', '{ type filter hook prerouting priority -300; }', ['iifname @bridges ip daddr 127.0.0.0/8 drop']),

    ...chain('forward', '{ type filter hook forward priority 0; }', [
      'iifname . oifname @same accept',
      'iifname @hardware oifname @hardware drop',
      'iifname != @bridges oifname != @bridges accept',
      'iifname @internal drop',
      'oifname @internal drop',
      'ct state established,related accept',
      'ct status dnat accept',
      // Into our networks only by published ports, be it from outside or from another network.
      'oifname @bridges drop',
    ]),

    ...chain('postrouting', '{ type nat hook postrouting priority 100; }', [
      // A container that calls a published port: the backend may reach it directly, and must answer by us.
      'ct status dnat ip saddr @subnets masquerade',
      // The node itself calls one, from 127.0.0.1 for instance.
      'ct status dnat fib saddr type local oifname @bridges masquerade',
      'ip saddr @outgoing oifname != @bridges masquerade',
    ]),
  ].join('\n');
}

/**
 * For a node whose forwarding was off before we turned it on: its network cards stay apart, as they were. (Docker sets the
 * policy of FORWARD to DROP for the same reason; that would also stop everybody else's virtual interfaces.)
 */
export function keepApart(table: string, hardware: readonly string[]): string {
  return hardware.map((name) => element('add', table, 'hardware', quoted(name))).join('\n');
}

/** Removes everything. */
export function removeAll(table: string): string {
  return `add table ip ${table}\ndelete table ip ${table}`;
}

/** Makes a bridge known. */
export function addBridge(table: string, bridge: RulesetBridge): string {
  return [
    ...elements('add', table, bridge, bridge.internal),
    // It may have been of the other kind before. Only what is there can be deleted: so it is added first.
    ...(bridge.internal
      ? deletion(table, 'outgoing', bridge.subnet)
      : deletion(table, 'internal', quoted(bridge.name))),
  ].join('\n');
}

/** Forgets a bridge, known or not. */
export function removeBridge(table: string, bridge: RulesetBridge): string {
  return [true, false]
    .flatMap((internal) => [
      ...elements('add', table, bridge, internal),
      ...elements('delete', table, bridge, internal),
    ])
    .filter((line, index, all) => all.indexOf(line) === index)
    .join('\n');
}

/** Makes the ports exactly these. Forwards without a backend have no rule: the node refuses the connection. */
export function ports(table: string, forwards: readonly PortForward[]): string {
  const lines = [`flush map ip ${table} any`, `flush map ip ${table} exact`, `flush chain ip ${table} balanced`];
  const any: string[] = [];
  const exact: string[] = [];
  for (const { protocol, hostIp, port, backends } of forwards) {
    const [first] = backends;
    if (first === undefined) continue;
    if (backends.length === 1) {
      const backend = `${first.ipv4} . ${first.port}`;
      if (hostIp === '') any.push(`${protocol} . ${port} : ${backend}`);
      else exact.push(`${hostIp} . ${protocol} . ${port} : ${backend}`);
      continue;
    }
    const turns = backends.map(({ ipv4, port }, index) => `${index} : ${ipv4} . ${port}`).join(', ');
    const address = hostIp === '' ? '' : `ip daddr ${hostIp} `;
    lines.push(
      `add rule ip ${table} balanced ${address}${protocol} dport ${port} ` +
        `dnat ip to numgen inc mod ${backends.length} map { ${turns} }`,
    );
  }
  if (any.length > 0) lines.push(`add element ip ${table} any { ${any.join(', ')} }`);
  if (exact.length > 0) lines.push(`add element ip ${table} exact { ${exact.join(', ')} }`);
  return lines.join('\n');
}

function elements(verb: 'add' | 'delete', table: string, bridge: RulesetBridge, internal: boolean): readonly string[] {
  const name = quoted(bridge.name);
  return [
    element(verb, table, 'bridges', name),
    element(verb, table, 'same', `${name} . ${name}`),
    element(verb, table, 'subnets', bridge.subnet),
    internal ? element(verb, table, 'internal', name) : element(verb, table, 'outgoing', bridge.subnet),
  ];
}

function deletion(table: string, set: string, value: string): readonly string[] {
  return [element('add', table, set, value), element('delete', table, set, value)];
}

function element(verb: 'add' | 'delete', table: string, set: string, value: string): string {
  return `${verb} element ip ${table} ${set} { ${value} }`;
}

/** Interface names begin with letters here, but nft would read some of them as keywords. */
function quoted(name: string): string {
  return `"${name}"`;
}
