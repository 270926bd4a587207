/**
 * Asks the resolver of a container for one name without rest, and prints a line for each address when it is answered for the first time:
 * "<address> <wall time, ms>". Runs in the container's network namespace until its standard input ends.
 */
import { once } from 'node:events';
import { lookUp } from '../../test/lab/network/ask.ts';

const [, , name = ''] = process.argv;
const PATIENCE_MS = 2000;
const known = new Set<string>();
let enough = false;
process.stdin.resume();
void once(process.stdin, 'end').then(() => (enough = true));
console.log('asking');
while (!enough) {
  const { addresses } = await lookUp(name, PATIENCE_MS).catch(() => ({ addresses: [] }));
  const now = Date.now();
  for (const address of addresses) {
    if (known.has(address)) continue;
    known.add(address);
    console.log(`${address} ${now}`);
  }
  await new Promise((resolve) => setTimeout(resolve, 1));
}
