/** Where the kernel led a request that got no answer: by that one sees whose fault it was. */
import { readFileSync, writeFileSync } from 'node:fs';

const FLOWS = '/proc/net/nf_conntrack';
const TIMES = '/proc/sys/net/netfilter/nf_conntrack_timestamp';

/** The flow that a request took. */
export interface Lead {
  /** Who was to answer. */
  readonly endpoint: string;
  readonly isAnswered: boolean;
  /** How long the kernel had known the flow: longer than the request took, it is of an earlier one from the same port. Undefined: not kept. */
  readonly ageS: number | undefined;
  /** When the request was given up the kernel did not know the flow any more. */
  readonly isForgotten?: boolean;
}

const leads = new WeakMap<Error, Lead>();

/** Has the kernel keep since when it has known each flow of this network namespace. */
export function keepTimes(): void {
  writeFileSync(TIMES, '1');
}

/** Where the kernel leads what was sent from a port to an address just now; undefined: it knows no such flow. */
export function lookForLead(kind: 'tcp' | 'udp', address: string, port: number | undefined): Lead | undefined {
  return port === undefined ? undefined : findLead(readFileSync(FLOWS, 'utf8'), kind, address, port);
}

/**
 * The error, with what {@link leadOf} says of it: to be called while the request's flow is known still.
 * @param earlier where it led a while ago, if it is not known any more
 */
export function withLead(
  error: Error,
  kind: 'tcp' | 'udp',
  address: string,
  port: number | undefined,
  earlier?: Lead,
): Error {
  const lead = lookForLead(kind, address, port) ?? (earlier && { ...earlier, isForgotten: true });
  if (lead !== undefined) leads.set(error, lead);
  return error;
}

/** Where the request of an error of {@link withLead} was led; undefined: the kernel did not know its flow. */
export function leadOf(error: Error): Lead | undefined {
  return leads.get(error);
}

/** Pure. @param flows lines as of /proc/net/nf_conntrack: the tuple of the caller's packets, and that of the answers */
export function findLead(flows: string, kind: 'tcp' | 'udp', address: string, port: number): Lead | undefined {
  for (const line of flows.split('\n')) {
    const [, destination] = / dst=(\S+)/.exec(line) ?? [];
    const [, source] = / sport=(\S+)/.exec(line) ?? [];
    if (!line.includes(` ${kind} `) || destination !== address || source !== String(port)) continue;
    const [, answerer = ''] = / src=\S+ .* src=(\S+)/.exec(line) ?? [];
    const [, age] = / delta-time=(\d+)/.exec(line) ?? [];
    return {
      endpoint: answerer,
      isAnswered: !line.includes('[UNREPLIED]'),
      ageS: age === undefined ? undefined : Number(age),
    };
  }
  return undefined;
}
