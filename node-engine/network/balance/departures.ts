/**
 * Endpoints that virtual addresses lead to no more, as long as flows may still lead to them: who looked for flows too early misses one
 * whose first packet was led before the change and is tracked after it. Pure but for what it keeps.
 */
import { isIPv4 } from 'node:net';
import { addressBytes, formatBytes } from '../address.ts';
import type { Slots } from './table.ts';

/** Within it a packet that is on its way through the rules is tracked. */
export const TRACKED_MS = 1000;

/** Keeps what has to be looked for in the flows of a namespace. */
export class Departures {
  readonly #left = new Map<string, Map<string, number>>();

  /** Addresses that flows have to be looked through for. */
  get addresses(): readonly string[] {
    return [...this.#left.keys()];
  }

  /** When to look again, at the latest; undefined: there is nothing to look for. */
  get due(): number | undefined {
    const times = [...this.#left.values()].flatMap((left) => [...left.values()]);
    return times.length === 0 ? undefined : Math.min(...times) + TRACKED_MS;
  }

  /** The addresses lead elsewhere from now on. @returns whether an endpoint has left. One that had none led no flow anywhere. */
  changed(before: Slots, after: Slots, now: number): boolean {
    let isLess = false;
    for (const [address, endpoints] of before) {
      const next = after.get(address);
      if (next === endpoints) continue;
      const kept = new Set(next);
      for (const endpoint of endpoints) {
        if (kept.has(endpoint)) continue;
        this.#leave(address, plain(endpoint), now);
        isLess = true;
      }
      this.#return(address, next ?? []);
    }
    return isLess;
  }

  /** What the address led to is not known. */
  unknown(addresses: Iterable<string>, now: number): void {
    for (const address of addresses) this.#leave(address, '', now);
  }

  /** The flows were looked through. @param began when that began */
  looked(began: number): void {
    for (const [address, left] of this.#left) {
      for (const [endpoint, since] of left) if (began >= since + TRACKED_MS) left.delete(endpoint);
      if (left.size === 0) this.#left.delete(address);
    }
  }

  /** There are no flows, nor can there be any to those that have left. */
  clear(): void {
    this.#left.clear();
  }

  /** It is led to again: what leads to it is as it should be. */
  #return(address: string, endpoints: readonly string[]): void {
    const left = this.#left.get(address);
    if (left === undefined) return;
    const here = new Set(endpoints.map(plain));
    for (const endpoint of left.keys()) if (here.has(endpoint)) left.delete(endpoint);
    if (left.size === 0) this.#left.delete(address);
  }

  #leave(address: string, endpoint: string, now: number): void {
    const left = this.#left.get(address);
    if (left === undefined) this.#left.set(address, new Map([[endpoint, now]]));
    else left.set(endpoint, now);
  }
}

/** An address as flows have it. */
export const plain = (address: string): string => (isIPv4(address) ? address : formatBytes(addressBytes(address)));
