import { execFileSync, spawn } from 'node:child_process';
import { isIPv6 } from 'node:net';

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

/** Answered requests a second to port 80 of an address. */
export function requestsPerSecond(client: Namespace, address: string): number {
  const host = isIPv6(address) ? `[${address}]` : address;
  const load = ['wrk', '-t', '1', '-c', String(CONNECTIONS), '-d', `${SECONDS}s`, `http://${host}/`];
  const said = execFileSync('nsenter', [...client, ...load], { encoding: 'utf8', timeout: 30_000 });
  if (/Non-2xx|Socket errors/.test(said)) throw new Error(`not all requests were answered:\n${said}`);
  const [, perSecond] = /Requests\/sec:\s+([\d.]+)/.exec(said) ?? [];
  if (perSecond === undefined) throw new Error(`wrk said something else:\n${said}`);
  return Number(perSecond);
}
