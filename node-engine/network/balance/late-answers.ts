/**
 * Answers to datagrams that were sent to a virtual address and whose flow is forgotten: they come from the endpoint's address, and a
 * socket that is connected to the virtual one takes them from nobody else. As long as some may be on their way, a table of their own
 * has them come from where the datagram went:
 *
 *   map answers     { endpoint . its port . caller's port there : virtual address . caller's port }      of a few seconds each
 *   chain prerouting, after connection tracking
 *     meta l4proto udp ct state new  ip saddr . udp dport  set to what @answers has for ip saddr . udp sport . udp dport
 *
 * What is tracked is not looked at: it has a flow that knows where it belongs.
 */
import { addressBytes } from '../address.ts';
import type { Flow } from '../conntrack.ts';
import { UDP } from '../conntrack.ts';
import { tryKernel } from '../kernel.ts';
import type { NetlinkMessage } from '../netlink.ts';
import { transactions } from '../nfnetlink.ts';
import type { Family } from './messages.ts';
import {
  changeMap,
  deleteTable,
  makeTable,
  incomingChain,
  senderByMap,
  senderToSender,
  toAddress,
} from './messages.ts';

const TABLE = 'tsswarm_answers';
const MAP = 'answers';
const CHAIN = 'prerouting';
/** A server that is told to end answers what has come; later than that nobody waits any more. */
const ANSWER_MS = 5000;

/** The answers that may still come to one namespace. The table is there as long as some may. */
export class LateAnswers {
  readonly #family: Family;
  readonly #netns: string;
  #isMade = false;
  #until = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** What is being done, one after the other. */
  #work: Promise<void> = Promise.resolve();

  /** @param netns file of the namespace */
  constructor(family: Family, netns: string) {
    this.#family = family;
    this.#netns = netns;
  }

  /** Answers of these flows shall find back also when they are forgotten. A failure costs those answers, no more. */
  expect(flows: readonly Flow[]): Promise<void> {
    const datagrams = flows.filter(({ protocol }) => protocol === UDP);
    if (datagrams.length === 0 || this.#isClosed) return Promise.resolve();
    this.#until = performance.now() + ANSWER_MS;
    return this.#after(async () => {
      const elements = expectations(this.#family, datagrams);
      if (!(await this.#add(elements))) {
        // An earlier process has left its table, or somebody has removed ours.
        await this.#remove();
        await this.#add(elements);
      }
      if (!this.#isClosed) this.#timer ??= setTimeout(() => this.#end(), ANSWER_MS).unref();
    });
  }

  /** Looks after nothing any more: the table stays, without entries soon. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #end(): void {
    const left = this.#until - performance.now();
    this.#timer = left > 0 ? setTimeout(() => this.#end(), left).unref() : undefined;
    if (left <= 0) void this.#after(() => (this.#until > performance.now() ? Promise.resolve() : this.#remove()));
  }

  async #add(elements: readonly NetlinkMessage[]): Promise<boolean> {
    const netfilter = transactions([...(this.#isMade ? [] : answersTable(this.#family)), ...elements]);
    const { failures } = await tryKernel({ netns: this.#netns, netfilter });
    if (failures.length > 0) return false;
    return (this.#isMade = true);
  }

  async #remove(): Promise<void> {
    this.#isMade = false;
    const [make, remove] = [makeTable(this.#family, TABLE, false), deleteTable(this.#family, TABLE)];
    // Deleting what is not there would fail: so it is made first.
    await tryKernel({ netns: this.#netns, netfilter: transactions([make, remove]) });
  }

  #after(work: () => Promise<void>): Promise<void> {
    // The namespace may be gone.
    return (this.#work = this.#work.then(work).catch(() => undefined));
  }
}

/** What makes the table. Pure. */
function answersTable(family: Family): readonly NetlinkMessage[] {
  return [
    makeTable(family, TABLE, true),
    senderToSender(family, TABLE, MAP, ANSWER_MS),
    incomingChain(family, TABLE, CHAIN),
    senderByMap(family, TABLE, CHAIN, MAP),
  ];
}

/** The entries for flows. Pure. */
function expectations(family: Family, flows: readonly Flow[]): readonly NetlinkMessage[] {
  const port = (value: number): Buffer => Buffer.from([value >> 8, value & 255, 0, 0]);
  // An endpoint sees each of its callers' ports once.
  const elements = flows.map(({ answerer, answererPort, translatedPort, destination, callerPort }) => ({
    key: Buffer.concat([addressBytes(answerer), port(answererPort), port(translatedPort)]),
    data: toAddress(Buffer.concat([addressBytes(destination), port(callerPort)])),
  }));
  return changeMap('ensure', family, TABLE, MAP, elements);
}
