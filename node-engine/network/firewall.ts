/**
 * Keeps the node's rules: knows what they should be and applies all of it at each change, so that a change also repairs
 * (after `nft flush ruleset`, say). Changes that come while a transaction runs share the next one.
 */
import type { PortForward } from '../types.ts';
import { tryKernel } from './kernel.ts';
import { generationOf, getGeneration } from './nfnetlink.ts';
import { runNft } from './nft.ts';
import type { RulesetBridge } from './ruleset.ts';
import { addBridge, baseRules, keepApart, ports, removeAll, removeBridge } from './ruleset.ts';

export class Firewall {
  readonly #table: string;
  readonly #bridges = new Map<string, RulesetBridge>();
  readonly #removed = new Map<string, RulesetBridge>();
  #hardware: readonly string[] = [];
  /** Undefined until somebody has said: then those of an earlier process stay. */
  #forwards: readonly PortForward[] | undefined;
  /** The kernel's count of changes after our last one, if nobody else's came between. */
  #generation: number | undefined;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /** @param table name of the table, this daemon's alone */
  constructor(table: string) {
    this.#table = table;
  }

  bridge(name: string): RulesetBridge | undefined {
    return this.#bridges.get(name);
  }

  setBridge(bridge: RulesetBridge): void {
    const before = this.#bridges.get(bridge.name);
    if (before && before.subnet === bridge.subnet && before.internal === bridge.internal) return;
    if (before && before.subnet !== bridge.subnet) this.#removed.set(`${before.name} ${before.subnet}`, before);
    this.#bridges.set(bridge.name, bridge);
  }

  deleteBridge(name: string): void {
    const bridge = this.#bridges.get(name);
    if (!bridge) return;
    this.#bridges.delete(name);
    this.#removed.set(`${name} ${bridge.subnet}`, bridge);
  }

  setForwards(forwards: readonly PortForward[]): void {
    this.#forwards = forwards;
  }

  setHardware(names: readonly string[]): void {
    this.#hardware = names;
  }

  /** Whether the rules are as we left them: true only if no rule of anybody has changed since. */
  async untouched(): Promise<boolean> {
    return this.#generation !== undefined && (await generation()) === this.#generation;
  }

  /** Applies what is known now. @throws NETWORK_FAILED */
  async commit(): Promise<void> {
    this.#next ??= this.#running
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        this.#running = this.#apply();
        return this.#running;
      });
    return this.#next;
  }

  async #apply(): Promise<void> {
    const removed = [...this.#removed];
    const before = await generation();
    this.#generation = undefined;
    await runNft(this.#script(removed.map(([, bridge]) => bridge)));
    for (const [key] of removed) this.#removed.delete(key);
    const after = await generation();
    if (before !== undefined && after === before + 1) this.#generation = after;
  }

  #script(removed: readonly RulesetBridge[]): string {
    const table = this.#table;
    if (this.#bridges.size === 0 && this.#forwards?.length === 0) return removeAll(table);
    return [
      baseRules(table),
      ...(this.#hardware.length > 0 ? [keepApart(table, this.#hardware)] : []),
      ...removed.map((bridge) => removeBridge(table, bridge)),
      ...[...this.#bridges.values()].map((bridge) => addBridge(table, bridge)),
      ...(this.#forwards ? [ports(table, this.#forwards)] : []),
    ].join('\n');
  }
}

/** The kernel counts the changes of rules in each network namespace. */
async function generation(): Promise<number | undefined> {
  return generationOf((await tryKernel({ netfilter: [getGeneration()] })).netfilter);
}
