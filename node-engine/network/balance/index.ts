/** Virtual addresses inside containers' namespaces: the kernel leads what is sent to one to one of its endpoints. */
import { isIPv4 } from 'node:net';
import { Coalesced } from '../../../base/async.ts';
import type { Flow } from '../conntrack.ts';
import { UDP, countFlows, deleteFlow, flowCountOf, flowsOf, listFlows } from '../conntrack.ts';
import { kernel, reusable, tryKernel } from '../kernel.ts';
import { AlikeTables } from './alike.ts';
import { Departures, plain } from './departures.ts';
import { LateAnswers } from './late-answers.ts';
import { listCounters, packetsOf } from './messages.ts';
import type { Family } from './messages.ts';
import type { Slots } from './table.ts';
import { BALANCE_TABLE, LED } from './table.ts';

/** More addresses than this are not looked up one by one: all flows are listed. */
const SEPARATE_LISTS = 4;
const NOTHING = 'nothing';
/** Between two looks through flows that no change asks for. */
const REST_MS = 500;

/** Asks how many packets were led, and how many flows are tracked. */
const ASK_LED = {
  ip: reusable([listCounters('ip', BALANCE_TABLE), countFlows()]),
  ip6: reusable([listCounters('ip6', BALANCE_TABLE), countFlows()]),
} as const;

/** Address → those that it is led to, in turn by chance. None: connections are refused at once. */
export type VirtualAddresses = ReadonlyMap<string, readonly string[]>;

/** The balancing of one container. */
export interface NamespaceBalancer {
  /**
   * Makes it so: connections that were begun go on, flows over UDP to endpoints that are no more are forgotten (answers that are on their
   * way find back all the same), and so are connections that nobody has answered yet. Several calls at once share one transaction. Empty and never set: nothing is touched.
   * @throws NETWORK_FAILED, or a system error
   */
  set(wanted: VirtualAddresses): Promise<void>;
  /** Makes what was set last again, whatever is there. @throws as `set` */
  repair(): Promise<void>;
  /** Looks after nothing any more; what is there stays. */
  close(): void;
}

/**
 * @param netns file of the namespace
 * @param subject for messages: 'container "shop-web-1"'
 * @param tables of all namespaces that want much the same
 */
export function balanceNamespace(netns: string, subject: string, tables = new AlikeTables()): NamespaceBalancer {
  const of = (family: Family): FamilyTable =>
    new FamilyTable(family, { netns, subject, tables }, () => void work.run());
  const families = { ip: of('ip'), ip6: of('ip6') };
  let wanted: VirtualAddresses = new Map();
  let isSuspect = false;
  let trouble: { readonly error: unknown } | undefined;
  const work = new Coalesced(async () => {
    const addresses = (family: Family): VirtualAddresses =>
      new Map([...wanted].filter(([address]) => isIPv4(address) === (family === 'ip')));
    try {
      if (isSuspect) for (const family of [families.ip, families.ip6]) family.doubt();
      isSuspect = false;
      await families.ip.set(addresses('ip'));
      await families.ip6.set(addresses('ip6'));
      trouble = undefined;
    } catch (error) {
      trouble = { error };
    }
  });
  return {
    async set(next) {
      wanted = next;
      await work.run();
      if (trouble !== undefined) throw trouble.error;
    },
    async repair() {
      isSuspect = true;
      await work.run();
      if (trouble !== undefined) throw trouble.error;
    },
    close() {
      for (const family of [families.ip, families.ip6]) family.close();
    },
  };
}

/** Where a table is. */
interface Place {
  readonly netns: string;
  readonly subject: string;
  readonly tables: AlikeTables;
}

class FamilyTable {
  readonly #family: Family;
  readonly #netns: string;
  readonly #subject: string;
  readonly #tables: AlikeTables;
  readonly #onDue: () => void;
  /** As the kernel has it; undefined: not known. */
  #slots: Slots | undefined;
  readonly #departures = new Departures();
  readonly #answers: LateAnswers;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #isDue = false;
  /** No other table was there before this one: what it has not led it has not. */
  #isFirst = false;
  /** Packets that were led when the last change was about to be made. */
  #ledBefore: bigint | undefined;

  /** @param onDue has to have `set` called again, after whatever is under way: flows are never judged by a table that is just being changed */
  constructor(family: Family, { netns, subject, tables }: Place, onDue: () => void) {
    this.#family = family;
    this.#netns = netns;
    this.#subject = subject;
    this.#tables = tables;
    this.#onDue = onDue;
    this.#answers = new LateAnswers(family, netns);
  }

  /** What the kernel has is not known any more. */
  doubt(): void {
    this.#slots = undefined;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#answers.close();
  }

  async set(wanted: VirtualAddresses): Promise<void> {
    if (this.#slots === undefined && wanted.size === 0) return;
    const slots = await this.#change(wanted);
    this.#slots = slots;
    if (this.#isDue) await this.#forget(slots);
  }

  /** @returns what the kernel has then */
  async #change(wanted: VirtualAddresses): Promise<Slots> {
    const before = this.#slots;
    if (before !== undefined) {
      const change = this.#tables.change(this.#family, before, wanted);
      if (change === undefined) return before;
      this.#slots = undefined;
      const { netfilter, failures } = await tryKernel({ netns: this.#netns, netfilter: change.messages });
      this.#ledBefore = packetsOf(netfilter, LED);
      if (failures.length === 0) {
        if (this.#departures.changed(before, change.slots, performance.now())) this.#isDue = true;
        return change.slots;
      }
      // Somebody has changed the table: it is made anew.
    } else {
      const fresh = this.#tables.whole(this.#family, wanted, true);
      const { failures } = await tryKernel({ netns: this.#netns, netfilter: fresh.messages });
      if (failures.length === 0) {
        this.#isFirst = true;
        return fresh.slots;
      }
      // Usually the table of an earlier daemon; if not, this fails as well and says why.
    }
    const whole = this.#tables.whole(this.#family, wanted, false);
    this.#isDue = true;
    this.#ledBefore = undefined;
    this.#isFirst = false;
    this.#departures.unknown([...(before?.keys() ?? []), ...wanted.keys()], performance.now());
    await kernel(this.#subject, { netns: this.#netns, netfilter: whole.messages });
    return whole.slots;
  }

  /** Ends what still leads to endpoints that an address has no more, but for connections that stand; and has it looked for again, as long as there may be more. */
  async #forget(slots: Slots): Promise<void> {
    const addresses = this.#departures.addresses;
    const began = performance.now();
    const led = await this.#led();
    if (led === NOTHING) this.#departures.clear();
    else {
      const leads = new Map(
        addresses.map((address) => [plain(address), new Set((slots.get(address) ?? []).map(plain))]),
      );
      const stale = (await this.#flowsTo(addresses)).filter(({ destination, answerer, protocol, isUnanswered }) => {
        const lead = leads.get(destination);
        return lead?.has(answerer) === false && (protocol === UDP || isUnanswered);
      });
      await this.#answers.expect(stale);
      await this.#delete(stale);
      // Nothing was on its way through the rules while they were changed.
      if (led !== undefined && led === this.#ledBefore) this.#departures.clear();
      else this.#departures.looked(began);
    }
    this.#isDue = false;
    this.#lookLater();
  }

  #lookLater(): void {
    const { due } = this.#departures;
    if (due === undefined || this.#timer !== undefined || this.#isClosed) return;
    const look = (): void => {
      this.#timer = undefined;
      this.#isDue = true;
      this.#onDue();
    };
    this.#timer = setTimeout(look, Math.max(REST_MS, due - performance.now())).unref();
  }

  /** Packets that have been led, NOTHING: nor is any flow tracked; undefined: not known. Not every container that is led to is led itself. */
  async #led(): Promise<bigint | typeof NOTHING | undefined> {
    const { netfilter } = await tryKernel({ netns: this.#netns, netfilter: ASK_LED[this.#family] });
    const led = packetsOf(netfilter, LED);
    return flowCountOf(netfilter) === 0 || (led === 0n && this.#isFirst) ? NOTHING : led;
  }

  /** What the kernel tracks to the addresses, and perhaps more. That it cannot list them is no reason to fail: flows end by themselves, later. */
  async #flowsTo(addresses: readonly string[]): Promise<readonly Flow[]> {
    const lists = addresses.length > SEPARATE_LISTS ? [undefined] : addresses;
    const found: Flow[] = [];
    for (const address of lists) {
      const { netfilter } = await tryKernel({ netns: this.#netns, netfilter: [listFlows(this.#family, address)] });
      found.push(...flowsOf(netfilter));
    }
    return found;
  }

  async #delete(flows: readonly Flow[]): Promise<void> {
    if (flows.length > 0) await tryKernel({ netns: this.#netns, netfilter: flows.map(deleteFlow) });
  }
}
