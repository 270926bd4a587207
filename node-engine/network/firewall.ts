/**
 * Keeps the node's rules: knows what they should be and what was applied. A change is applied as a difference; where
 * anybody has changed rules meanwhile (`nft flush ruleset`, a firewall's restart) everything is applied again. Changes that
 * come while a transaction runs share the next one.
 */
import type { GuardedPort, PortForward, PortNode } from '../types.ts';
import { kernel, tryKernel } from './kernel.ts';
import type { NetlinkMessage } from './netlink.ts';
import { countTransactions, generationOf, getGeneration, getTable, transaction } from './nfnetlink.ts';
import { runNft } from './nft.ts';
import { passesBridged } from './ipv6.ts';
import { changePorts, hasIpv6Ports, inOrderOf, wholePorts } from './port-rules.ts';
import type { RuleTransaction } from './rule-watch.ts';
import { judge } from './rule-watch.ts';
import type { Ruleset, RulesetBridge } from './ruleset.ts';
import { createRules, elementChanges, removeRules, repairRules } from './ruleset.ts';
import { elementRequests } from './ruleset-elements.ts';
import { changeIpv6Rules, needsIpv6, repairIpv6Rules } from './ruleset-ipv6.ts';

export class Firewall {
  readonly #table: string;
  readonly #bridges = new Map<string, RulesetBridge>();
  #hardware: readonly string[] = [];
  #ipv6Hardware: readonly string[] = [];
  #guarded: readonly GuardedPort[] = [];
  #nodes: readonly PortNode[] = [];
  /** Undefined until somebody has said: then those of an earlier process stay. */
  #forwards: readonly PortForward[] | undefined;
  /** What was applied, and the kernel's count of changes then. */
  #applied:
    { readonly rules: Ruleset; readonly ports: readonly PortForward[]; readonly generation: number } | undefined;
  /** How often the rules were made whole, not changed. */
  #repairs = 0;
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

  /** Forgets all others. */
  keepBridges(names: ReadonlySet<string>): void {
    for (const name of this.#bridges.keys()) if (!names.has(name)) this.#bridges.delete(name);
  }

  /** @param nodes those that calls are handed to, or come from, with their callers' addresses */
  setForwards(forwards: readonly PortForward[], nodes: readonly PortNode[]): void {
    this.#nodes = nodes;
    this.#forwards = inOrderOf(this.#forwards ?? [], forwards);
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

  /**
   * Somebody has changed rules of the node, perhaps these.
   * @param transactions what was heard; undefined: too much to say
   * @returns whether these had to be made again
   */
  async heard(transactions: readonly RuleTransaction[] | undefined): Promise<boolean> {
    // Whose transactions they are is known when what is under way is done.
    await this.#running.catch(() => undefined);
    const applied = this.#applied;
    if (this.#forwards === undefined) return false;
    if (applied !== undefined && transactions !== undefined) {
      const { isTouched, known } = judge(transactions, this.#table, applied.generation);
      if (!isTouched) {
        // The next change is a difference still.
        this.#applied = { ...applied, generation: known };
        return false;
      }
    }
    const before = this.#repairs;
    await this.commit();
    return this.#repairs > before;
  }

  async #apply(): Promise<void> {
    const portsKnown = this.#forwards !== undefined;
    const before = await inspect(this.#table);
    const wanted: Ruleset = {
      bridges: [...this.#bridges.values()],
      hardware: this.#hardware,
      ipv6Hardware: this.#ipv6Hardware,
      guarded: this.#guarded,
      kept: (this.#forwards ?? []).flatMap(({ keepsSource, protocol, port, meshPort = port }) =>
        keepsSource === true ? [{ protocol, port: meshPort }] : [],
      ),
      nodes: this.#nodes,
      ipv6Ports: hasIpv6Ports(this.#forwards ?? []),
      ipv6Loopback: !passesBridged(),
    };
    const ports = this.#forwards ?? [];
    const families = needsIpv6(wanted) ? (['ip', 'ip6'] as const) : (['ip'] as const);
    const isIdle = wanted.bridges.length === 0 && ports.every(isEmpty);
    // Ports that are not known yet may be in a table of an earlier process.
    const isUnused = isIdle && (portsKnown || !before.exists);
    const isAsApplied = this.#applied?.generation === before.generation ? this.#applied : undefined;
    const script = this.#script(before, wanted, isUnused);
    const entries =
      isAsApplied && before.exists && !isUnused
        ? elementRequests(this.#table, elementChanges(isAsApplied.rules, wanted))
        : [];
    const isWhole = !isAsApplied || !before.exists;
    const changes =
      isUnused || !portsKnown
        ? []
        : isWhole
          ? wholePorts(this.#table, ports, families)
          : changePorts(this.#table, isAsApplied.ports, ports, families);
    if (script === '' && entries.length + changes.length === 0) return;
    if (!isAsApplied) this.#repairs++;
    this.#applied = undefined;
    // What keeps networks apart comes first.
    if (script !== '') await runNft(script);
    if (entries.length > 0) await kernel('the node', { netfilter: transaction(entries) });
    if (changes.length > 0) await kernel('the published ports', { netfilter: changes });
    const { generation } = await inspect(this.#table);
    // As many more than before as there were transactions: nobody else's change came between. Emptying maps that are empty is none.
    const made = [script, entries].filter(({ length }) => length > 0).length + countTransactions(changes);
    const doubtful = isWhole && ports.every(isEmpty) ? countTransactions(changes) : 0;
    const more = generation - before.generation;
    const alone = more >= made - doubtful && more <= made;
    // Ports of an earlier process that still stand are not known.
    if (alone && portsKnown && !isUnused) this.#applied = { rules: wanted, ports, generation };
  }

  #script(kernel: Inspection, wanted: Ruleset, isUnused: boolean): string {
    const asApplied = this.#applied?.generation === kernel.generation ? this.#applied.rules : undefined;
    const ipv6 = asApplied
      ? changeIpv6Rules(this.#table, asApplied, wanted)
      : repairIpv6Rules(this.#table, wanted, kernel.existsIpv6);
    return [this.#ipv4Script(kernel, wanted, isUnused), ipv6].filter((script) => script !== '').join('\n');
  }

  #ipv4Script(kernel: Inspection, wanted: Ruleset, isUnused: boolean): string {
    if (!kernel.exists) return isUnused ? '' : createRules(this.#table, wanted);
    if (isUnused) return removeRules(this.#table);
    // As it was applied: entries change, without a script.
    return this.#applied?.generation === kernel.generation ? '' : repairRules(this.#table, wanted);
  }
}

const isEmpty = ({ backends, meshBackends = [] }: PortForward): boolean => backends.length + meshBackends.length === 0;

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
