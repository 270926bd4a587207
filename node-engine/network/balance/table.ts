/**
 * The table that balances what a container's processes send to virtual addresses. Pure.
 *
 *   map services    { address : goto of_<n> }            n: how many endpoints it has; "none": it refuses
 *   map endpoints   { address . 0…n-1 : endpoint }
 *   chain output    nat: ip daddr vmap @services
 *   counter led     how many packets were led by it: where it says none, the kernel tracks no flow to any of the addresses
 *   chain of_<n>    counter name led dnat to ip daddr . numgen random mod n map @endpoints, for all addresses with n endpoints
 *                   counter name led dnat to ip daddr . numgen random mod 1 map @endpoints, where that found nothing
 *
 * So an endpoint that comes or goes changes a few entries, however many others there are, and the packets of a connection that was
 * begun are led by the kernel's connection tracking alone.
 *
 * A transaction takes effect at once, but a packet looks into two maps: one that is between them just then has the chain of before and
 * the endpoints of after, and may draw a number that is gone. Number 0 is there as long as anybody serves. A chain is made one transaction
 * before anything leads to it.
 */
import { addressBytes } from '../address.ts';
import { transactions } from '../nfnetlink.ts';
import type { NetlinkMessage } from '../netlink.ts';
import type { Family, MapElement } from './messages.ts';
import {
  addressToChain,
  changeMap,
  deleteChain,
  deleteTable,
  destinationByMap,
  indexKey,
  indexToAddress,
  leadToOneOf,
  makeChain,
  makeCounter,
  makeTable,
  outputNatChain,
  refuse,
  toAddress,
  toChain,
} from './messages.ts';
import { keepPlaces } from './places.ts';

export const BALANCE_TABLE = 'tsswarm_balance';
const NONE = 'none';
/** The counter of what was led. */
export const LED = 'led';

/** Address → its endpoints by their numbers. */
export type Slots = ReadonlyMap<string, readonly string[]>;

/** Requests, and what is there afterwards. */
export interface TableChange {
  readonly messages: readonly NetlinkMessage[];
  readonly slots: Slots;
}

/**
 * The whole table.
 * @param fresh it must not be there yet; else it is replaced, without a moment in which it is missing
 * @param like endpoints have the places that they have there
 */
export function wholeTable(family: Family, wanted: Slots, fresh: boolean, like: Slots = new Map()): TableChange {
  const table = BALANCE_TABLE;
  const before = fresh ? [] : [makeTable(family, table, false), deleteTable(family, table)];
  const placed = new Map([...wanted].map(([address, list]) => [address, keepPlaces(like.get(address) ?? [], list)]));
  const { chains, changes, slots } = between(family, undefined, placed);
  return {
    messages: transactions([
      ...before,
      makeTable(family, table, fresh),
      addressToChain(family, table, 'services'),
      indexToAddress(family, table, 'endpoints'),
      makeCounter(family, table, LED),
      makeChain(family, table, NONE),
      ...refuse(family, table, NONE),
      outputNatChain(family, table, 'output'),
      destinationByMap(family, table, 'output', 'services'),
      ...chains,
      ...changes,
    ]),
    slots,
  };
}

/** What makes a table that is as `before` says be as `wanted` says; undefined: nothing. */
export function tableChange(family: Family, before: Slots, wanted: Slots): TableChange | undefined {
  const { chains, changes, slots } = between(family, before, wanted);
  return changes.length === 0 ? undefined : { messages: transactions(chains, changes), slots };
}

function between(
  family: Family,
  old: Slots | undefined,
  wanted: Slots,
): {
  /** What makes the chains that are missing, to be carried out first (see {@link transactions}). */
  readonly chains: readonly NetlinkMessage[];
  readonly changes: readonly NetlinkMessage[];
  readonly slots: Slots;
} {
  const table = BALANCE_TABLE;
  const before = old ?? new Map<string, readonly string[]>();
  const slots = new Map(before);
  const gone: MapElement[] = [];
  const come: MapElement[] = [];
  const unled: MapElement[] = [];
  const led: MapElement[] = [];
  for (const address of new Set([...before.keys(), ...wanted.keys()])) {
    const [was, now] = [before.get(address), wanted.get(address)];
    const key = addressBytes(address);
    // Those of a whole table have their places.
    const next = now === undefined || old === undefined ? now : keepPlaces(was ?? [], now);
    if (next !== undefined && next === was) continue;
    for (let index = 0; index < Math.max(was?.length ?? 0, next?.length ?? 0); index++) {
      const [left, right] = [was?.[index], next?.[index]];
      if (left === right) continue;
      if (left !== undefined) gone.push({ key: indexKey(key, index), data: undefined });
      if (right !== undefined) come.push({ key: indexKey(key, index), data: toAddress(addressBytes(right)) });
    }
    if (next === undefined) slots.delete(address);
    else slots.set(address, next);
    if (was?.length === next?.length) continue;
    if (was !== undefined) unled.push({ key, data: undefined });
    if (next !== undefined) led.push({ key, data: toChain(chainOf(next.length)) });
  }
  const had = old === undefined ? new Set<number>() : counts(old);
  const has = counts(slots);
  return {
    slots,
    chains: [...has.difference(had)].flatMap((count) => [
      makeChain(family, table, chainOf(count)),
      ...(count > 1 ? [count, 1] : [count]).map((modulus) =>
        leadToOneOf(family, table, chainOf(count), { counter: LED, map: 'endpoints', modulus }),
      ),
    ]),
    changes: [
      ...changeMap('delete', family, table, 'services', unled),
      ...changeMap('delete', family, table, 'endpoints', gone),
      ...changeMap('add', family, table, 'endpoints', come),
      ...changeMap('add', family, table, 'services', led),
      ...[...had.difference(has)].map((count) => deleteChain(family, table, chainOf(count))),
    ],
  };
}

const chainOf = (count: number): string => (count === 0 ? NONE : `of_${count}`);

/** How many endpoints addresses have that have any, and one: without a rule that translates the kernel tracks no connections, and asks no nat chain. */
function counts(slots: Slots): ReadonlySet<number> {
  const found = new Set<number>([1]);
  for (const { length } of slots.values()) if (length > 0) found.add(length);
  return found;
}
