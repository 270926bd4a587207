/**
 * The sockets of a container's resolver: inside its namespace, at 127.0.0.11, but on ports of the kernel's choice, so that
 * the container may bind port 53 itself on all addresses. Rules in the namespace turn port 53 into them and back. The
 * rules change the packets only and track no connections: a container's traffic is not slowed by them.
 */
import { closeSync } from 'node:fs';
import { bindSocket } from '../native/addon.ts';
import { parseIpv4 } from './address.ts';
import { kernel, tryKernel } from './kernel.ts';
import type { NetlinkMessage } from './netlink.ts';
import { createTable, outputChain, replaceTable, rewritePort, transaction } from './nfnetlink.ts';

/** Where containers find their resolver; the address that Docker uses, so that images and configurations know it. */
export const RESOLVER_ADDRESS = '127.0.0.11';

const DNS_PORT = 53;
export const RESOLVER_TABLE = 'tsswarm_resolver';
const TABLE = RESOLVER_TABLE;
/** Around connection tracking (-200) and translation (-100) of rules that the container may have: they see port 53 only. */
const QUERY_PRIORITY = 300;
const REPLY_PRIORITY = -310;

export interface ResolverSockets {
  /** Bound, not blocking; the caller closes it. */
  readonly udp: number;
  /** Listening, not blocking; the caller closes it. */
  readonly tcp: number;
  /** Makes the rules again, whatever is there. @throws NETWORK_FAILED */
  repair(): Promise<void>;
}

/**
 * Opens the sockets and makes the rules; rules of an earlier call are replaced.
 * @param netns file of the container's namespace
 * @param subject for messages: 'container "shop-web-1"'
 * @throws NETWORK_FAILED or a system error
 */
export async function openResolverSockets(netns: string, subject: string): Promise<ResolverSockets> {
  const udp = await bindSocket(netns, 'udp', RESOLVER_ADDRESS, 0);
  try {
    const tcp = await bindSocket(netns, 'tcp-listen', RESOLVER_ADDRESS, 0);
    try {
      await redirect(netns, subject, udp.port, tcp.port);
      const repair = (): Promise<void> => redirect(netns, subject, udp.port, tcp.port);
      return { udp: udp.fd, tcp: tcp.fd, repair };
    } catch (error) {
      closeSync(tcp.fd);
      throw error;
    }
  } catch (error) {
    closeSync(udp.fd);
    throw error;
  }
}

async function redirect(netns: string, subject: string, udpPort: number, tcpPort: number): Promise<void> {
  const first = await tryKernel({ netns, netfilter: redirection(createTable(TABLE), udpPort, tcpPort) });
  if (first.failures.length === 0) return;
  // Usually the table of an earlier daemon; if not, this fails as well and says why.
  await kernel(subject, { netns, netfilter: redirection(replaceTable(TABLE), udpPort, tcpPort) });
}

function redirection(table: readonly NetlinkMessage[], udpPort: number, tcpPort: number): readonly NetlinkMessage[] {
  const rules = (
    [
      [17, udpPort],
      [6, tcpPort],
    ] as const
  ).flatMap(([protocol, port]) => {
    const match = { protocol, ipv4: parseIpv4(RESOLVER_ADDRESS) };
    return [
      rewritePort(TABLE, 'query', { ...match, side: 'destination', from: DNS_PORT, to: port }),
      rewritePort(TABLE, 'reply', { ...match, side: 'source', from: port, to: DNS_PORT }),
    ];
  });
  return transaction([
    ...table,
    outputChain(TABLE, 'query', QUERY_PRIORITY),
    outputChain(TABLE, 'reply', REPLY_PRIORITY),
    ...rules,
  ]);
}
