/**
 * Keeps the node's rules: knows what they should be and what was applied. A change is applied as a difference; where
 * anybody has changed rules meanwhile (`nft flush ruleset`, a firewall's restart) everything is applied again. Changes that
 * come while a transaction runs share the next one.
 */
import type { GuardedPort, PortForward } from '../types.ts';
import { tryKernel } from './kernel.ts';
import type { NetlinkMessage } from './netlink.ts';
import { generationOf, getGeneration, getTable } from './nfnetlink.ts';
import { runNft } from './nft.ts';
import type { Ruleset, RulesetBridge } from './ruleset.ts';
import { changeRules, createRules, removeRules, repairRules } from './ruleset.ts';
import { changeIpv6Rules, repairIpv6Rules } from './ruleset-ipv6.ts';

export class Firewall {
  readonly #table: string;
  readonly #bridges = new Map<string, RulesetBridge>();
  #hardware: readonly string[] = [];
  #ipv6Hardware: readonly string[] = [];
  #guarded: readonly GuardedPort[] = [];
  /** Undefined until somebody has said: then those of an earlier process stay. */
  #forwards: readonly PortForward[] | undefined;
  /** What was applied, and the kernel's count of changes then. */
  #applied: { readonly rules: Ruleset; readonly generation: number } | undefined;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /** @param table name of the table, this daemon's alone */
  constructor(table: string) {
    this.#table = table;
  }

  setBridge(bridge: RulesetBridge): void {
    this.#bridges.set(bridge.name, bridge);
  }

  deleteBridge(name: string): void {
    this.#bridges.delete(name);
  }

  setForwards(forwards: readonly PortForward[]): void {
    this.#forwards = forwards;
  }

  setHardware(names: readonly string[]): void {
    this.#hardware = names;
  }

  setGuarded(ports: readonly GuardedPort[]): void {
    this.#guarded = ports;
  }

  setIpv6Hardware(names: readonly string[]): void {
    this.#ipv6Hardware = names;
  }

  /** Makes the kernel's rules what is known now, whatever they are. @throws NETWORK_FAILED */
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
    const portsKnown = this.#forwards !== undefined;
    const before = await inspect(this.#table);
    const wanted: Ruleset = {
      bridges: [...this.#bridges.values()],
      forwards: this.#forwards ?? [],
      hardware: this.#hardware,
      ipv6Hardware: this.#ipv6Hardware,
      guarded: this.#guarded,
    };
    const script = this.#script(before, wanted, portsKnown);
    if (script === '') return;
    this.#applied = undefined;
    await runNft(script);
    const { generation } = await inspect(this.#table);
    // One more than before: nobody else's change came between.
    const alone = generation === before.generation + 1;
    // Ports of an earlier process that still stand are not known.
    if (alone && (portsKnown || !before.exists)) this.#applied = { rules: wanted, generation };
  }

  #script(kernel: Inspection, wanted: Ruleset, portsKnown: boolean): string {
    const asApplied = this.#applied?.generation === kernel.generation ? this.#applied.rules : undefined;
    const ipv6 = asApplied
      ? changeIpv6Rules(this.#table, asApplied, wanted)
      : repairIpv6Rules(this.#table, wanted, kernel.existsIpv6);
    return [this.#ipv4Script(kernel, wanted, portsKnown), ipv6].filter((script) => script !== '').join('\n');
  }

  #ipv4Script(kernel: Inspection, wanted: Ruleset, portsKnown: boolean): string {
    const unused = wanted.bridges.length === 0 && portsKnown && wanted.forwards.length === 0;
    if (!kernel.exists) return unused ? '' : createRules(this.#table, wanted);
    if (unused) return removeRules(this.#table);
    if (this.#applied?.generation === kernel.generation) return changeRules(this.#table, this.#applied.rules, wanted);
    return repairRules(this.#table, wanted, portsKnown);
  }
}

interface Inspection {
  readonly generation: number;
  readonly exists: boolean;
  readonly existsIpv6: boolean;
}

/** The kernel counts the changes of rules in each network namespace; 0 where it does not say. */
async function inspect(table: string): Promise<Inspection> {
  const [ipv4, ipv6] = [getTable(table), getTable(table, 'ip6')];
  const { netfilter, failures } = await tryKernel({ netfilter: [getGeneration(), ipv4, ipv6] });
  const isMissing = (asked: NetlinkMessage): boolean => failures.some(({ message }) => message === asked);
  return { generation: generationOf(netfilter) ?? 0, exists: !isMissing(ipv4), existsIpv6: !isMissing(ipv6) };
}
