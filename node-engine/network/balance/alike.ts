/**
 * What is made once for all containers that are changed alike: most containers of a node are on the same networks, and an endpoint that comes
 * or goes is the same few entries in the table of each.
 */
import { reusable } from '../kernel.ts';
import { listCounters } from './messages.ts';
import type { Family } from './messages.ts';
import type { Slots, TableChange } from './table.ts';
import { BALANCE_TABLE, tableChange, wholeTable } from './table.ts';

/** Containers are changed one after the other, and meanwhile the next change may have come, on networks of other projects as well. */
const MOST_KEPT = 32;

interface Made {
  readonly family: Family;
  /** The very object; undefined: a whole table. */
  readonly before: Slots | undefined;
  readonly fresh: boolean;
  readonly wanted: Slots;
  readonly change: TableChange | undefined;
}

/** The changes that were made last. Tables with the same endpoints have them at the same places, where that is possible, and share one object of {@link Slots}. */
export class AlikeTables {
  readonly #made: Made[] = [];

  /** As `tableChange`, with a question for what was led before the requests; they can be sent again and again. */
  change(family: Family, before: Slots, wanted: Slots): TableChange | undefined {
    return this.#make(family, before, false, wanted, () => {
      const change = tableChange(family, before, wanted);
      if (change === undefined) return undefined;
      return { ...change, messages: [listCounters(family, BALANCE_TABLE), ...change.messages] };
    });
  }

  /** As `wholeTable`. */
  whole(family: Family, wanted: Slots, fresh: boolean): TableChange {
    const others = this.#made.filter((one) => one.family === family && one.change !== undefined);
    const like = (others.findLast((one) => isSame(one.wanted, wanted)) ?? others.at(-1))?.change?.slots;
    const change = this.#make(family, undefined, fresh, wanted, () => wholeTable(family, wanted, fresh, like));
    if (change === undefined) throw new Error('a whole table is always something');
    return change;
  }

  #make(
    family: Family,
    before: Slots | undefined,
    fresh: boolean,
    wanted: Slots,
    make: () => TableChange | undefined,
  ): TableChange | undefined {
    const known = this.#made.find(
      (one) => one.family === family && one.before === before && one.fresh === fresh && isSame(one.wanted, wanted),
    );
    if (known !== undefined) return known.change;
    const made = make();
    const change =
      made === undefined ? undefined : { messages: reusable(made.messages), slots: this.#shared(family, made.slots) };
    this.#made.push({ family, before, fresh, wanted, change });
    if (this.#made.length > MOST_KEPT) this.#made.shift();
    return change;
  }

  #shared(family: Family, slots: Slots): Slots {
    const other = this.#made.findLast(
      ({ family: of, change }) => of === family && change !== undefined && isSame(change.slots, slots, isEqual),
    );
    return other?.change?.slots ?? slots;
  }
}

/** @param same of lists; absent: the very same, for those who want the same have them from one place */
function isSame(a: Slots, b: Slots, same: typeof isEqual = (one, other) => one === other): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [address, endpoints] of a) if (!same(endpoints, b.get(address))) return false;
  return true;
}

const isEqual = (a: readonly string[], b: readonly string[] | undefined): boolean =>
  a === b || (b !== undefined && a.length === b.length && a.every((endpoint, index) => endpoint === b[index]));
