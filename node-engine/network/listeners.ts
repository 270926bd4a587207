/** Which TCP ports a container listens to, asked of the kernel (sock_diag(7), linux/inet_diag.h). */
import { tryKernel } from './kernel.ts';
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, u32 } from './netlink.ts';

const SOCK_DIAG_BY_FAMILY = 20;
const FAMILIES = { ipv4: 2, ipv6: 10 } as const;
const IPPROTO_TCP = 6;
/** The states asked for, as a set of bits: listening alone, so that the table of connections is not walked. */
const LISTENING = 1 << 10;
/** inet_diag_sockid: ports, addresses, interface and cookie; all zero in a dump. */
const SOCKET_BYTES = 48;
/** Of inet_diag_msg: family, state, timer, retransmits; then the socket with its port and, after the other end's, its address. */
const PORT_OFFSET = 4;
const ADDRESS_OFFSET = 8;
const ADDRESS_BYTES = { ipv4: 4, ipv6: 16 } as const;

/** Asks for all listening TCP sockets of a family. Pure. */
export function listListeners(family: keyof typeof FAMILIES): NetlinkMessage {
  const request = Buffer.from([FAMILIES[family], IPPROTO_TCP, 0, 0]);
  return {
    what: `list the listening sockets of ${family}`,
    type: SOCK_DIAG_BY_FAMILY,
    flags: NLM_F.DUMP,
    body: Buffer.concat([request, u32(LISTENING), Buffer.alloc(SOCKET_BYTES)]),
  };
}

/** Ports of the answers that others can reach: what listens on loopback alone is left out. Pure. */
export function reachablePorts(replies: readonly NetlinkReply[]): ReadonlySet<number> {
  const ports = new Set<number>();
  for (const { type, body } of replies) {
    const family = body[0] === FAMILIES.ipv6 ? 'ipv6' : 'ipv4';
    if (type !== SOCK_DIAG_BY_FAMILY || body.length < ADDRESS_OFFSET + ADDRESS_BYTES[family]) continue;
    const address = body.subarray(ADDRESS_OFFSET, ADDRESS_OFFSET + ADDRESS_BYTES[family]);
    if (!isLoopback(address)) ports.add(body.readUInt16BE(PORT_OFFSET));
  }
  return ports;
}

/** 127.0.0.0/8, ::1. */
function isLoopback(address: Buffer): boolean {
  if (address.length === ADDRESS_BYTES.ipv4) return address[0] === 127;
  return address.subarray(0, -1).every((byte) => byte === 0) && address.at(-1) === 1;
}

/**
 * @param netns file of the namespace
 * @returns undefined where the kernel does not tell (without its module tcp_diag)
 */
export async function listeningPorts(netns: string): Promise<ReadonlySet<number> | undefined> {
  const { diagnostics, failures } = await tryKernel({
    netns,
    diagnostics: [listListeners('ipv4'), listListeners('ipv6')],
  });
  // A kernel without IPv6 has no such sockets.
  return failures.some(({ message }) => message.what === listListeners('ipv4').what)
    ? undefined
    : reachablePorts(diagnostics);
}
