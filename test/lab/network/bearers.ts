import type { Task } from '../../../proto/types/index.ts';
import type { Failure, Report } from './hammer.ts';

/** One task that has an address, and from when until when. Times are of CLOCK_MONOTONIC, ms. */
interface Bearer {
  readonly address: string;
  readonly nodeId: string;
  readonly from: number;
  /** It was killed, or its machine switched off. */
  died: number | undefined;
  /** A manager said that it does not run any more. */
  gone: number | undefined;
  /** All that was said is that its node is down. */
  isOnlyOutOfReach?: boolean;
}

const MOST_WORDS = 10;

/** Who had which address when, as the managers said; and what requests may have failed for that. */
export class Bearers {
  readonly #bearers = new Map<string, Bearer>();
  readonly #nameOf: (nodeId: string) => string;

  /** @param nameOf for people */
  constructor(nameOf: (nodeId: string) => string) {
    this.#nameOf = nameOf;
  }

  /** What managers say now of all tasks of the service. */
  look(tasks: readonly Task[], now: number): void {
    const there = new Set<string>();
    for (const { id, nodeId, status, addresses } of tasks) {
      there.add(id);
      const known = this.#bearers.get(id);
      const [address] = addresses;
      if (known !== undefined) {
        if (status.state !== 'running') known.gone ??= now;
      } else if (status.state === 'running' && address !== undefined)
        this.#bearers.set(id, { address: address.ipv4, nodeId, from: now, died: undefined, gone: undefined });
    }
    for (const [id, bearer] of this.#bearers) if (!there.has(id)) bearer.gone ??= now;
  }

  /** They are dead; nobody knows it yet. */
  died(ids: readonly string[], now: number): void {
    for (const id of ids) {
      const bearer = this.#bearers.get(id);
      if (bearer !== undefined) bearer.died = now;
    }
  }

  /** Their node is said to be down. */
  gone(tasks: readonly Task[], now: number): void {
    for (const { id } of tasks) {
      const bearer = this.#bearers.get(id);
      if (bearer === undefined || bearer.gone !== undefined) continue;
      bearer.gone = now;
      bearer.isOnlyOutOfReach = true;
    }
  }

  /** Their node is up, and they run. @returns of how many it was said by mistake that they do not */
  back(tasks: readonly Task[]): number {
    let mistaken = 0;
    for (const { id, status } of tasks) {
      const bearer = this.#bearers.get(id);
      if (bearer?.isOnlyOutOfReach !== true || bearer.died !== undefined || status.state !== 'running') continue;
      bearer.gone = undefined;
      bearer.isOnlyOutOfReach = false;
      mistaken++;
    }
    return mistaken;
  }

  areGone(ids: readonly string[]): boolean {
    return ids.every((id) => this.#bearers.get(id)?.gone !== undefined);
  }

  /** @param graceMs 0: nothing excuses a failure */
  judge(reports: readonly Report[], since: number, graceMs: number) {
    const all = [...this.#bearers.values()];
    const failures = reports.flatMap((report) => report.failures);
    const excuses = graceMs === 0 ? [] : all.filter(({ died = -1 }) => died >= since);
    const isExcused = ({ asked, ended, address }: Failure): boolean =>
      excuses.some(({ address: dead, died = Infinity, gone = Infinity }) => {
        if (ended < died || asked > gone + graceMs) return false;
        // A virtual address may have led to any of them.
        return address === dead || !all.some((bearer) => bearer.address === address);
      });
    const lost = failures.filter((failure) => !isExcused(failure));
    const named = reports.flatMap((report) => report.named);
    const stale = named.filter(([address, asked]) => {
      const mine = all.filter((bearer) => bearer.address === address);
      // A task is named a moment before the manager's word of it has come here.
      const isTaken = mine.some(
        ({ gone, died }) => gone === undefined || asked <= gone + (died === undefined ? 0 : graceMs),
      );
      return !isTaken;
    });
    const firstGone = Math.min(...excuses.map(({ gone = Infinity }) => gone));
    const after = failures.filter(({ asked }) => asked > firstGone).map(({ asked }) => asked - firstGone);
    return {
      answered: reports.reduce((sum, report) => sum + report.answered, 0),
      excused: failures.length - lost.length,
      lost: lost
        .slice(0, MOST_WORDS)
        .map((failure) => this.#words(failure))
        .concat(lost.length > MOST_WORDS ? [`and ${lost.length - MOST_WORDS} more`] : []),
      stale: stale.map(
        ([address, asked]) =>
          `${address}, ${Math.round(asked - Math.max(...all.filter((one) => one.address === address).map(({ gone = 0 }) => gone)))} ms late`,
      ),
      slowestMs: Math.max(...reports.map(({ slowestMs }) => slowestMs)),
      came: all.filter(({ from }) => from >= since).length,
      went: all.filter(({ gone = -1 }) => gone >= since).length,
      failedForMs: Math.max(0, ...after),
    };
  }

  /** What happened, for people: times are ms from when it was asked. */
  #words({ way, asked, ended, address, reason, lead }: Failure): string {
    const told = [`${way} ${address}: ${reason} after ${(ended - asked).toFixed(0)} ms`];
    const lives = this.#lives(address, asked);
    if (lives !== '') told.push(`[${lives}]`);
    if (lead !== undefined) {
      const age = lead.ageS === undefined ? '' : `, by a flow that is ${lead.ageS} s old`;
      told.push(
        `led to ${lead.endpoint}${age}${lead.isAnswered ? ' and was answered' : ''}${lead.isForgotten ? ', and forgotten' : ''}`,
      );
      if (lead.endpoint !== address) told.push(`[${this.#lives(lead.endpoint, asked) || 'never an endpoint'}]`);
    }
    return told.join(' ');
  }

  /** Of everybody who had the address. */
  #lives(address: string, asked: number): string {
    const at = (time: number | undefined): string => (time === undefined ? '-' : (time - asked).toFixed(0));
    return [...this.#bearers.values()]
      .filter((one) => one.address === address)
      .map(
        ({ nodeId, from, died, gone }) =>
          `there ${at(from)}, dead ${at(died)}, gone ${at(gone)}, on ${this.#nameOf(nodeId)}`,
      )
      .join('; ');
  }
}
