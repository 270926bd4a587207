import { execFileSync, spawn } from 'node:child_process';
import { isIPv6 } from 'node:net';
import { median } from '../start/measure.ts';

/** A namespace as an argument of nsenter(1): "--net=/var/run/netns/x". */
export type Namespace = readonly string[];

/** Two places that reach each other. */
export interface Pair {
  readonly client: Namespace;
  readonly server: Namespace;
  /** Of the server. */
  readonly address: string;
  /** That iperf3 uses; absent: its own. */
  readonly port?: number;
}

/** Published for iperf3, and nobody else's on the machine. */
export const PUBLISHED_PORT = 5202;

const SECONDS = 3;
const FORGET_SOON =
  'for kind in time_wait close; do echo 1 > /proc/sys/net/netfilter/nf_conntrack_tcp_timeout_$kind; done';
const CONNECTIONS = 16;

/** Gbit/s of one TCP connection from the client to the server. */
export async function throughput({ client, server, address, port = 5201 }: Pair): Promise<number> {
  const listening = spawn('nsenter', [...server, 'iperf3', '-s', '-1', '--forceflush', '-p', String(port)], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise((resolve) => listening.once('exit', resolve));
  try {
    for await (const text of listening.stdout) if (String(text).includes('listening')) break;
    const answer = execFileSync(
      'nsenter',
      [...client, 'iperf3', '-c', address, '-p', String(port), '-t', String(SECONDS), '-J'],
      {
        encoding: 'utf8',
        timeout: 30_000,
      },
    );
    const { end, error } = JSON.parse(answer) as {
      readonly end: { readonly sum_received?: { readonly bits_per_second: number } };
      readonly error?: string;
    };
    if (end.sum_received === undefined) throw new Error(`iperf3 to ${address}: ${error ?? answer}`);
    return end.sum_received.bits_per_second / 1e9;
  } finally {
    listening.kill('SIGKILL');
    await ended;
  }
}

/**
 * Answered requests a second to port 80 of an address.
 * @param fresh each by a connection of its own
 */
export function requestsPerSecond(client: Namespace, address: string, seconds = SECONDS, fresh = false): number {
  const host = isIPv6(address) ? `[${address}]` : address;
  const header = fresh ? ['-H', 'Connection: close'] : [];
  const load = ['wrk', '-t', '1', '-c', String(CONNECTIONS), '-d', `${seconds}s`, ...header, `http://${host}/`];
  const said = execFileSync('nsenter', [...client, ...load], { encoding: 'utf8', timeout: 30_000 });
  if (/Non-2xx|Socket errors/.test(said)) throw new Error(`not all requests were answered:\n${said}`);
  const [, perSecond] = /Requests\/sec:\s+([\d.]+)/.exec(said) ?? [];
  if (perSecond === undefined) throw new Error(`wrk said something else:\n${said}`);
  return Number(perSecond);
}

/** One way beside another. */
export interface Comparison {
  /** Medians, a second. */
  readonly one: number;
  readonly other: number;
  /** Median of the ratios of turns that followed each other. */
  readonly ratio: number;
  /** Of the ratios half lie between these. */
  readonly middleHalf: readonly [number, number];
}

/**
 * Asks two addresses in short turns, one after the other, each as often first as second: what else the machine does meets both alike.
 * @param turns of each; the first ones of each are not counted
 */
export function compareRequests(
  client: Namespace,
  [one, other]: readonly [string, string],
  turns: number,
  fresh: boolean,
): Comparison {
  // The ports of a turn are free for the next one: neither has flows of the other in its way.
  execFileSync('nsenter', [...client, 'sh', '-c', FORGET_SOON]);
  const counts: (readonly [number, number])[] = [];
  for (let turn = -1; turn < turns; turn++) {
    const ask = (address: string): number => requestsPerSecond(client, address, 1, fresh);
    const first = ask(turn % 2 === 0 ? one : other);
    const second = ask(turn % 2 === 0 ? other : one);
    if (turn >= 0) counts.push(turn % 2 === 0 ? [first, second] : [second, first]);
  }
  const ratios = counts.map(([a, b]) => b / a).toSorted((a, b) => a - b);
  const at = (share: number): number => ratios[Math.floor(share * (ratios.length - 1))] ?? NaN;
  return {
    one: median(counts.map(([count]) => count)),
    other: median(counts.map(([, count]) => count)),
    ratio: median(ratios),
    middleHalf: [at(0.25), at(0.75)],
  };
}
