/**
 * Hears when somebody changes rules: the kernel tells of every transaction of nf_tables what it touched, and its number. Taking the
 * messages apart is pure.
 */
import { attributes, messagesOf, readText } from './netlink.ts';
import { NFPROTO_IPV4, NFPROTO_IPV6 } from './nfnetlink.ts';

const SUBSYSTEM = 10;
const NEWGEN = 15;
const HEADER_BYTES = 4;
const FAMILIES: readonly number[] = [NFPROTO_IPV4, NFPROTO_IPV6];
/** The table stands in the same attribute of all objects; the number of a transaction as well. */
const FIRST = 1;

/** What was changed at once. */
export interface RuleTransaction {
  /** The kernel's count of changes with it. */
  readonly generation: number;
  readonly tables: ReadonlySet<string>;
}

/**
 * Puts transactions together out of what the kernel sends. It sends what one has touched and its number in datagrams of their own: where
 * the reader is faster, or the writer loses its processor in between, they come with different reads.
 */
export class TransactionReader {
  /** Tables of the transaction whose end has not come yet. */
  #tables = new Set<string>();

  /** @param events messages, whole ones @returns the transactions that end with them */
  take(events: Buffer): readonly RuleTransaction[] {
    const found: RuleTransaction[] = [];
    for (const { type, body } of messagesOf(events)) {
      if (type >> 8 !== SUBSYSTEM) continue;
      // Those of IPv4 and IPv6: a guard of the tunnels has a table of its own.
      if ((type & 255) !== NEWGEN && !FAMILIES.includes(body[0] ?? 0)) continue;
      const first = attributes(body, HEADER_BYTES).get(FIRST);
      if (first === undefined) continue;
      if ((type & 255) === NEWGEN) {
        found.push({ generation: first.readUInt32BE(0), tables: this.#tables });
        this.#tables = new Set();
      } else this.#tables.add(readText(first));
    }
    return found;
  }

  /** Messages are missing: the next end may be another transaction's. */
  forget(): void {
    this.#tables = new Set();
  }
}

/**
 * Whether rules have to be looked at, and up to which transaction it is known that they need not.
 * @param known the count at which the table was as it should be
 */
export function judge(
  transactions: readonly RuleTransaction[],
  table: string,
  known: number,
): { readonly isTouched: boolean; readonly known: number } {
  let isTouched = false;
  let last = known;
  for (const { generation, tables } of transactions) {
    if (generation <= known) continue;
    isTouched ||= tables.has(table);
    if (!isTouched && generation === last + 1) last = generation;
  }
  return { isTouched, known: last };
}
