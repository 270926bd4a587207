/**
 * A client that never rests: asks for a service by its virtual address and for its tasks past that, over TCP and UDP, each time by name
 * and from a port of its own. Runs in a container's network namespace until its standard input ends, then prints a Report as JSON.
 *
 * Arguments: name of the service, how many requests are under way, ms between two of the same, how many ports the namespace's own
 * requests come from.
 */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { askTcp, askUdp, lookUp } from './ask.ts';
import { keepTimes, leadOf } from './lead.ts';
import type { Lead } from './lead.ts';

const WAYS = ['virtual tcp', 'virtual udp', 'task tcp', 'task udp'] as const;

/** A request that was not answered. Times are of CLOCK_MONOTONIC, ms: the same for all processes. */
export interface Failure {
  readonly way: (typeof WAYS)[number];
  /** When the name was asked for. */
  readonly asked: number;
  readonly ended: number;
  /** Where the name led; empty: nowhere. */
  readonly address: string;
  readonly reason: string;
  /** Of one that timed out or was refused: where the kernel led it. */
  readonly lead?: Lead;
}

export interface Report {
  /** Answered requests. */
  readonly answered: number;
  readonly failures: readonly Failure[];
  /** Of each address of a task when it was last given in answer to a question, and when that question was asked. */
  readonly named: readonly (readonly [address: string, asked: number])[];
  /** Longest that an answered request took, ms. */
  readonly slowestMs: number;
}

const NAME_PATIENCE_MS = 5000;
const PATIENCE_MS = 8000;
const MOST_FAILURES = 10_000;

const PORT_RANGE = '/proc/sys/net/ipv4/ip_local_port_range';
const FIRST_PORT = 32768;

const [, , service = '', workers = '4', restMs = '20', ports = '2000'] = process.argv;
const failures: Failure[] = [];
const named = new Map<string, number>();
let answered = 0;
let slowestMs = 0;
let enough = false;
keepTimes();
writeFileSync(PORT_RANGE, `${FIRST_PORT} ${FIRST_PORT + Number(ports) - 1}`);
process.stdin.resume();
void once(process.stdin, 'end').then(() => (enough = true));
console.log('asking');
await Promise.all(Array.from({ length: Number(workers) }, (_, first) => hammer(first)));
const report: Report = { answered, failures, named: [...named], slowestMs };
console.log(JSON.stringify(report));

async function hammer(first: number): Promise<void> {
  for (let turn = first; !enough; turn++) {
    const way = WAYS[turn % WAYS.length] ?? 'virtual tcp';
    const asked = now();
    let address = '';
    try {
      const isTask = way.startsWith('task');
      const { rcode, addresses } = await lookUp(isTask ? `tasks.${service}` : service, NAME_PATIENCE_MS);
      if (isTask) for (const one of addresses) named.set(one, Math.max(asked, named.get(one) ?? 0));
      address = addresses[Math.floor(Math.random() * addresses.length)] ?? '';
      if (address === '') throw new Error(`the name leads nowhere (${rcode})`);
      await (way.endsWith('tcp') ? askTcp : askUdp)(address, PATIENCE_MS);
      answered++;
      slowestMs = Math.max(slowestMs, now() - asked);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const lead = error instanceof Error ? leadOf(error) : undefined;
      if (failures.length < MOST_FAILURES)
        failures.push({ way, asked, ended: now(), address, reason, ...(lead === undefined ? {} : { lead }) });
    }
    await new Promise((resolve) => setTimeout(resolve, Number(restMs)));
  }
}

function now(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
