/** Virtual addresses inside containers' namespaces: the kernel leads what is sent to one to one of its endpoints. */
import { isIPv4 } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { Coalesced } from '../../../base/async.ts';
import { addressBytes, formatBytes } from '../address.ts';
import type { Flow } from '../conntrack.ts';
import { UDP, deleteFlow, flowsOf, listFlows } from '../conntrack.ts';
import { kernel, tryKernel } from '../kernel.ts';
import type { Family } from './messages.ts';
import type { Slots } from './table.ts';
import { losers, tableChange, wholeTable } from './table.ts';

/**
 * A datagram that is on its way when its endpoint goes is answered by it still, if it is stopped as planned; the answer finds back only while its
 * flow is known. So long it is left.
 */
const ANSWER_MS = 1000;
/** More addresses than this are not looked up one by one: all flows are listed. */
const SEPARATE_LISTS = 4;

/** Address → those that it is led to, in turn by chance. None: connections are refused at once. */
export type VirtualAddresses = ReadonlyMap<string, readonly string[]>;

/** The balancing of one container. */
export interface NamespaceBalancer {
  /**
   * Makes it so: connections that were begun go on, flows over UDP to endpoints that are no more are forgotten (a second later where an
   * answer is awaited), and so are connections that nobody has answered yet. Several calls at once share one transaction. Empty and never set: nothing is touched.
   * @throws NETWORK_FAILED, or a system error
   */
  set(wanted: VirtualAddresses): Promise<void>;
  /** Makes what was set last again, whatever is there. @throws as `set` */
  repair(): Promise<void>;
}

/**
 * @param netns file of the namespace
 * @param subject for messages: 'container "shop-web-1"'
 */
export function balanceNamespace(netns: string, subject: string): NamespaceBalancer {
  const families = { ip: new FamilyTable('ip', netns, subject), ip6: new FamilyTable('ip6', netns, subject) };
  let wanted: VirtualAddresses = new Map();
  let isSuspect = false;
  let trouble: { readonly error: unknown } | undefined;
  const work = new Coalesced(async () => {
    const of = (family: Family): VirtualAddresses =>
      new Map([...wanted].filter(([address]) => isIPv4(address) === (family === 'ip')));
    try {
      if (isSuspect) for (const family of [families.ip, families.ip6]) family.doubt();
      isSuspect = false;
      await families.ip.set(of('ip'));
      await families.ip6.set(of('ip6'));
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
  };
}

class FamilyTable {
  readonly #family: Family;
  readonly #netns: string;
  readonly #subject: string;
  /** As the kernel has it; undefined: not known. */
  #slots: Slots | undefined;

  constructor(family: Family, netns: string, subject: string) {
    this.#family = family;
    this.#netns = netns;
    this.#subject = subject;
  }

  /** What the kernel has is not known any more. */
  doubt(): void {
    this.#slots = undefined;
  }

  async set(wanted: VirtualAddresses): Promise<void> {
    const before = this.#slots;
    if (before === undefined && wanted.size === 0) return;
    if (before !== undefined) {
      const change = tableChange(this.#family, before, wanted);
      if (change === undefined) return;
      this.#slots = undefined;
      const { failures } = await tryKernel({ netns: this.#netns, netfilter: change.messages });
      if (failures.length === 0) {
        this.#slots = change.slots;
        return this.#forget(losers(before, change.slots), wanted);
      }
      // Somebody has changed the table: it is made anew.
    } else {
      const fresh = wholeTable(this.#family, wanted, true);
      const { failures } = await tryKernel({ netns: this.#netns, netfilter: fresh.messages });
      if (failures.length === 0) {
        this.#slots = fresh.slots;
        return;
      }
      // Usually the table of an earlier daemon; if not, this fails as well and says why.
    }
    const whole = wholeTable(this.#family, wanted, false);
    await kernel(this.#subject, { netns: this.#netns, netfilter: whole.messages });
    this.#slots = whole.slots;
    await this.#forget([...wanted.keys()], wanted);
  }

  /** Ends what still leads to endpoints that an address has no more, but for connections that stand. */
  async #forget(addresses: readonly string[], wanted: VirtualAddresses): Promise<void> {
    if (addresses.length === 0) return;
    const plain = (address: string): string => formatBytes(addressBytes(address));
    const endpoints = new Map(
      addresses.map((address) => [plain(address), new Set((wanted.get(address) ?? []).map(plain))]),
    );
    const isStale = ({ destination, answerer, protocol, isUnanswered }: Flow): boolean =>
      (protocol === UDP || isUnanswered) && endpoints.get(destination)?.has(answerer) === false;
    const awaitsAnswer = ({ protocol, isUnanswered }: Flow): boolean => protocol === UDP && isUnanswered;
    const stale = (await this.#flowsTo(addresses)).filter(isStale);
    await this.#delete(stale.filter((flow) => !awaitsAnswer(flow)));
    if (stale.some(awaitsAnswer)) void this.#forgetLater(addresses);
  }

  /** By then an answer has come, or none comes. */
  async #forgetLater(addresses: readonly string[]): Promise<void> {
    await setTimeout(ANSWER_MS, undefined, { ref: false });
    const asked = new Map(addresses.map((address) => [formatBytes(addressBytes(address)), address]));
    const leads = ({ destination, answerer }: Flow): boolean =>
      this.#slots?.get(asked.get(destination) ?? '')?.some((one) => formatBytes(addressBytes(one)) === answerer) ===
      true;
    try {
      const flows = await this.#flowsTo(addresses);
      // Being changed just now: that looks again.
      if (this.#slots === undefined) return;
      const mine = flows.filter(({ protocol, destination }) => protocol === UDP && asked.has(destination));
      await this.#delete(mine.filter((flow) => !leads(flow)));
    } catch {
      // The namespace has gone meanwhile.
    }
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
