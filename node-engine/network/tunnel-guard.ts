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

/**
 * Takes packets of an encrypted network from the encrypted way only: what comes in the clear was sent by somebody else; and lets them
 * out by nothing else, whatever the routes say. A rule for an identifier stays until the last tunnel goes; no other network has it.
 * @param links that make up the encrypted way
 * @throws NETWORK_FAILED
 */
export async function refuseClear(
  table: string,
  links: readonly string[],
  { vni, port }: { readonly vni: number; readonly port: number },
): Promise<void> {
  const others = `!= { ${links.map((link) => `"${link}"`).join(', ')} }`;
  await runNft(
    [
      `add table inet ${table}_guard`,
      `add chain inet ${table}_guard input { type filter hook input priority -1; }`,
      `add chain inet ${table}_guard output { type filter hook output priority -1; }`,
      `add set inet ${table}_guard encrypted { typeof @th,96,24; }`,
      `add element inet ${table}_guard encrypted { ${vni} }`,
      `flush chain inet ${table}_guard input`,
      `flush chain inet ${table}_guard output`,
      `add rule inet ${table}_guard input iifname ${others} udp dport ${port} @th,96,24 @encrypted drop`,
      `add rule inet ${table}_guard output oifname ${others} udp dport ${port} @th,96,24 @encrypted drop`,
    ].join('\n'),
  );
}

/** Not existing is success. @throws NETWORK_FAILED */
export async function removeTunnelGuard(table: string): Promise<void> {
  const { failures } = await tryKernel({ netfilter: [getTable(table, 'bridge')] });
  if (failures.length > 0) return;
  await runNft(`delete table bridge ${table}\nadd table inet ${table}_guard\ndelete table inet ${table}_guard`);
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
