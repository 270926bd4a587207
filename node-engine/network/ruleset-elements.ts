/**
 * Entries of the sets of ruleset.ts as requests to the kernel: a network that comes or goes needs no process. Pure.
 */
import { TsswarmError } from '../../base/errors.ts';
import { addressBytes, formatIpv4, parseSubnet } from './address.ts';
import { changeMap, changeSet, toAddress } from './balance/messages.ts';
import type { MapElement, SetElement } from './balance/messages.ts';
import type { NetlinkMessage } from './netlink.ts';
import { u32 } from './netlink.ts';
import type { ElementChange } from './ruleset.ts';

type Part = 'interface' | 'address' | 'subnet' | 'protocol' | 'port';

/** What the keys of each set consist of. */
const SETS: Readonly<Record<string, readonly Part[]>> = {
  bridges: ['interface'],
  internal: ['interface'],
  hardware: ['interface'],
  same: ['interface', 'interface'],
  inside: ['interface', 'subnet'],
  subnets: ['subnet'],
  outgoing: ['subnet'],
  guarded: ['protocol', 'port'],
  kept: ['protocol', 'port'],
  homes: ['address', 'address'],
};
const INTERFACE_BYTES = 16;
const PROTOCOLS: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 };

/** To be carried out together. */
export function elementRequests(table: string, changes: readonly ElementChange[]): readonly NetlinkMessage[] {
  return changes.flatMap(({ verb, set, keys }) =>
    set === 'senders'
      ? changeMap(verb, 'ip', table, set, keys.map(senderOf(verb)))
      : changeSet(
          verb,
          'ip',
          table,
          set,
          keys.flatMap((key) => elementsOf(set, key)),
        ),
  );
}

/** "02:42:a9:fe:c0:02 : 0x7473c002": a hardware address and the mark that it leads to. */
const senderOf =
  (verb: ElementChange['verb']) =>
  (text: string): MapElement => {
    const [mac = '', mark = ''] = text.split(' : ');
    const key = Buffer.from(mac.replaceAll(':', ''), 'hex');
    return { key, data: verb === 'delete' ? undefined : toAddress(u32(Number(mark))) };
  };

/** One, or the two ends of a range, which the kernel keeps as entries of their own where the range is all of the key. */
function elementsOf(set: string, key: string): readonly SetElement[] {
  const parts = SETS[set];
  if (parts === undefined) throw new TsswarmError('INTERNAL', `changing the set "${set}": its type is not known`);
  const texts = key.split(' . ');
  const bounds = parts.map((part, index) => boundsOf(part, texts[index] ?? ''));
  const first = Buffer.concat(bounds.map(([low]) => low));
  if (!parts.includes('subnet')) return [{ key: first }];
  if (parts.length > 1) return [{ key: first, end: Buffer.concat(bounds.map(([, high]) => high)) }];
  const { last } = parseSubnet(key);
  const behind = last + 1 < 2 ** 32 ? [{ key: addressBytes(formatIpv4(last + 1)), endsRange: true }] : [];
  return [{ key: first }, ...behind];
}

/** Lowest and highest value; parts of a key are filled up to four bytes each. */
function boundsOf(part: Part, text: string): readonly [Buffer, Buffer] {
  switch (part) {
    case 'interface': {
      const name = Buffer.alloc(INTERFACE_BYTES);
      name.write(text.replaceAll('"', ''), 'latin1');
      return [name, name];
    }
    case 'address':
      return [addressBytes(text), addressBytes(text)];
    case 'subnet': {
      const { first, last } = parseSubnet(text);
      return [addressBytes(formatIpv4(first)), addressBytes(formatIpv4(last))];
    }
    case 'protocol': {
      const number = Buffer.from([PROTOCOLS[text] ?? Number(text), 0, 0, 0]);
      return [number, number];
    }
    case 'port': {
      const number = Buffer.alloc(4);
      number.writeUInt16BE(Number(text));
      return [number, number];
    }
  }
}
