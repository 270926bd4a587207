/**
 * The gateway's address is the same on every node: an answer to a frame that came from one of them would stay on the other. So no
 * frame of the node's own goes into a tunnel, only those of its containers.
 */
import { tryKernel } from './kernel.ts';
import { getTable } from './nfnetlink.ts';
import { runNft } from './nft.ts';

/** Makes the table unless it is there. @throws NETWORK_FAILED */
export async function ensureTunnelGuard(table: string): Promise<void> {
  const { failures } = await tryKernel({ netfilter: [getTable(table, 'bridge')] });
  if (failures.length > 0) await runNft(tunnelGuard(table));
}

/** Not existing is success. @throws NETWORK_FAILED */
export async function removeTunnelGuard(table: string): Promise<void> {
  const { failures } = await tryKernel({ netfilter: [getTable(table, 'bridge')] });
  if (failures.length === 0) await runNft(`delete table bridge ${table}`);
}

/** Locally made frames pass the hook `output`, those from one port to another do not. */
export function tunnelGuard(table: string): string {
  return [
    `add table bridge ${table}`,
    `add chain bridge ${table} output { type filter hook output priority 0; }`,
    `flush chain bridge ${table} output`,
    `add rule bridge ${table} output oifname "tsx-*" drop`,
  ].join('\n');
}
