/** Requests of rtnetlink for the numbers that a network namespace has for others (linux/net_namespace.h). Pure. */
import { TsswarmError } from '../../base/errors.ts';
import type { NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, attribute, attributes, readU32, u32 } from './netlink.ts';

const RTM = { NEWNSID: 88, GETNSID: 90 } as const;
const NETNSA = { NSID: 1, FD: 3 } as const;
/** struct rtgenmsg, with what it takes to 4 bytes. */
const HEADER = Buffer.alloc(4);
const ANY = 0xffffffff;

/** Has the kernel choose a number for a namespace; one that has a number keeps it. @param fd open file of the namespace */
export function numberNamespace(fd: number): NetlinkMessage {
  return {
    what: 'number a namespace',
    type: RTM.NEWNSID,
    flags: NLM_F.ACK,
    body: Buffer.concat([HEADER, attribute(NETNSA.NSID, u32(ANY)), attribute(NETNSA.FD, u32(fd))]),
    tolerate: ['EEXIST'],
  };
}

export function getNamespaceNumber(fd: number): NetlinkMessage {
  return {
    what: 'find the number of a namespace',
    type: RTM.GETNSID,
    flags: 0,
    body: Buffer.concat([HEADER, attribute(NETNSA.FD, u32(fd))]),
  };
}

/** @throws where it has none */
export function namespaceNumberOf(replies: readonly NetlinkReply[]): number {
  const reply = replies.find(({ type }) => type === RTM.NEWNSID);
  const found = reply && attributes(reply.body, HEADER.length).get(NETNSA.NSID);
  const number = found === undefined ? ANY : readU32(found, 0);
  if (number === ANY) throw new TsswarmError('NETWORK_FAILED', 'finding the number of a namespace: it has none');
  return number;
}
