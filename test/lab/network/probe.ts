/**
 * Asks for names and whoever answers behind them, over TCP and UDP, and prints what came as JSON. Arguments: names and addresses; those
 * with "!" before them shall not answer, and are not waited for long. Runs in a container's network namespace.
 */
import { isIPv4 } from 'node:net';
import { askTcp, askUdp, lookUp } from './ask.ts';

/** What a name leads to. */
export interface Finding {
  readonly name: string;
  /** Of the resolver; NOERROR for an address. */
  readonly rcode: string;
  readonly addresses: readonly string[];
  /** Of each address what it said: its own address and its host name; "" where it said nothing. */
  readonly tcp: readonly string[];
  readonly udp: readonly string[];
}

const PATIENCE_MS = 15_000;
const SILENCE_MS = 1000;

console.log(JSON.stringify(await Promise.all(process.argv.slice(2).map(find))));

async function find(argument: string): Promise<Finding> {
  const name = argument.replace(/^!/, '');
  const timeoutMs = name === argument ? PATIENCE_MS : SILENCE_MS;
  const found = isIPv4(name) ? { rcode: 'NOERROR', addresses: [name] } : await lookUp(name, PATIENCE_MS);
  const said = async (ask: typeof askTcp): Promise<readonly string[]> => {
    const answers = found.addresses.map((address) => ask(address, timeoutMs).catch(() => ''));
    return (await Promise.all(answers)).map((text) => text.split(' ').slice(0, 2).join(' ')).toSorted();
  };
  const [tcp, udp] = await Promise.all([said(askTcp), said(askUdp)]);
  return { name, rcode: found.rcode, addresses: found.addresses.toSorted(), tcp, udp };
}
