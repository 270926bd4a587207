/** Sends netlink requests by the addon and turns refusals into errors. */
import { TsswarmError } from '../../base/errors.ts';
import { NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_SOCK_DIAG, inNetns } from '../native/addon.ts';
import type { NetlinkFailure, NetlinkMessage, NetlinkReply } from './netlink.ts';
import { NLM_F, decode, encode } from './netlink.ts';

export interface KernelRequest {
  /** File of the namespace; empty: the process's own. */
  readonly netns?: string;
  /** Make that namespace first. */
  readonly create?: boolean;
  readonly sysctls?: readonly (readonly [key: string, value: string])[];
  /** rtnetlink requests inside, then in the process's own namespace, sent in this order. */
  readonly inside?: readonly NetlinkMessage[];
  readonly outside?: readonly NetlinkMessage[];
  /** nfnetlink requests inside. */
  readonly netfilter?: readonly NetlinkMessage[];
  /** Questions about sockets inside. */
  readonly diagnostics?: readonly NetlinkMessage[];
}

export interface KernelOutcome {
  readonly inside: readonly NetlinkReply[];
  readonly outside: readonly NetlinkReply[];
  readonly netfilter: readonly NetlinkReply[];
  readonly diagnostics: readonly NetlinkReply[];
  /** In the order of the requests. A request after a refused one has been tried too, but in nfnetlink. */
  readonly failures: readonly NetlinkFailure[];
}

interface Sending {
  readonly messages: readonly NetlinkMessage[];
  readonly request: Buffer;
}

/** Of requests that are sent again and again. */
const encoded = new WeakMap<readonly NetlinkMessage[], readonly Sending[]>();

/** Encodes requests that will be sent to many namespaces, or many times, once. @returns the same array, which is not changed any more */
export function reusable(messages: readonly NetlinkMessage[]): readonly NetlinkMessage[] {
  encoded.set(messages, sendings(messages));
  return messages;
}

/** Runs the requests on one thread. @throws a system error if the namespace or a socket fails, not for refused requests */
export async function tryKernel(request: KernelRequest): Promise<KernelOutcome> {
  const steps = [
    { name: 'inside', messages: request.inside ?? [], outside: false, protocol: NETLINK_ROUTE },
    { name: 'netfilter', messages: request.netfilter ?? [], outside: false, protocol: NETLINK_NETFILTER },
    { name: 'diagnostics', messages: request.diagnostics ?? [], outside: false, protocol: NETLINK_SOCK_DIAG },
    { name: 'outside', messages: request.outside ?? [], outside: true, protocol: NETLINK_ROUTE },
  ] as const;
  const wanted = steps.flatMap(({ messages, ...step }) =>
    (encoded.get(messages) ?? sendings(messages)).map((sending) => ({ ...step, ...sending })),
  );
  const answers = await inNetns({
    path: request.netns ?? '',
    create: request.create ?? false,
    sysctls: request.sysctls ?? [],
    steps: wanted.map(({ outside, protocol, request }) => ({ outside, protocol, request })),
  });
  const outcomes = wanted.map(({ name, messages }, index) => ({
    name,
    ...decode(messages, answers[index] ?? Buffer.alloc(0)),
  }));
  const repliesOf = (name: string): readonly NetlinkReply[] =>
    outcomes.filter((outcome) => outcome.name === name).flatMap(({ replies }) => replies);
  return {
    inside: repliesOf('inside'),
    outside: repliesOf('outside'),
    netfilter: repliesOf('netfilter'),
    diagnostics: repliesOf('diagnostics'),
    failures: outcomes.flatMap(({ failures }) => failures),
  };
}

/** The messages as they are sent together: until a dump, for while one goes on the kernel takes no other on the same socket; until the end of a transaction. */
function sendings(messages: readonly NetlinkMessage[]): readonly Sending[] {
  const parts: NetlinkMessage[][] = [];
  let open: NetlinkMessage[] | undefined;
  for (const message of messages) {
    if (!open) parts.push((open = []));
    open.push(message);
    if ((message.flags & NLM_F.DUMP) === NLM_F.DUMP || message.isLast === true) open = undefined;
  }
  return parts.map((part) => ({ messages: part, request: encode(part) }));
}

/**
 * As {@link tryKernel}, but a refused request is an error.
 * @param subject whose network it is, for the message: 'network "shop_default"'
 * @throws NETWORK_FAILED
 */
export async function kernel(subject: string, request: KernelRequest): Promise<KernelOutcome> {
  let outcome: KernelOutcome;
  try {
    outcome = await tryKernel(request);
  } catch (cause) {
    throw new TsswarmError('NETWORK_FAILED', `cannot set up ${subject}: ${(cause as Error).message}`, { cause });
  }
  const [failure] = outcome.failures;
  if (failure) throw refused(subject, failure);
  return outcome;
}

export function refused(subject: string, { message, errno, reason }: NetlinkFailure): TsswarmError {
  const hint = errno === 'EPERM' ? { hint: 'run the daemon as root' } : {};
  return new TsswarmError('NETWORK_FAILED', `cannot ${message.what} of ${subject}: ${reason} (${errno})`, hint);
}
