/** What to do with a question: answer it from the records, pass it on, or turn it down. Pure. */
import type { Random } from '../../../base/random.ts';
import { ipBytes, readIp } from '../../../base/ip-address.ts';
import type { NetworkEndpoint } from '../../../proto/types/index.ts';
import type { AskedNetwork, KnownName, Records } from './records.ts';
import type { WireAnswer, WireRecord } from './wire.ts';
import {
  CLASS_IN,
  RCODE,
  TYPE,
  isQuery,
  opcodeOf,
  readQuestion,
  writeAnswer,
  writeName,
  writeRefusal,
} from './wire.ts';

/**
 * Seconds that an answer may be kept. One: a task that is replaced comes back with another address, and whoever keeps the
 * old one (the JVM, nginx) fails for that long; the resolver is on the same machine, so asking again costs next to nothing.
 */
const TTL_SECONDS = 1;

export interface Question {
  readonly records: Records;
  /** Those of the container that asks, in its order. */
  readonly networks: readonly AskedNetwork[];
  /** Further names of services for the container that asks, in lower case: alias → service; absent: none. */
  readonly links?: ReadonlyMap<string, string>;
  readonly transport: 'udp' | 'tcp';
  readonly message: Buffer;
}

export type Decision =
  /** `isVirtual`: it names a virtual address, which must lead somewhere for who asks. */
  | { readonly kind: 'answer'; readonly message: Buffer; readonly isVirtual?: boolean }
  | { readonly kind: 'forward' }
  /** Not a question at all: answering would invite loops. */
  | { readonly kind: 'ignore' };

const FORWARD: Decision = { kind: 'forward' };
const IGNORE: Decision = { kind: 'ignore' };

/** Decides; `random` shuffles the addresses of a name, so that clients that take the first spread over all. */
export function decide({ records, networks, links, transport, message }: Question, random: Random): Decision {
  if (!isQuery(message)) return IGNORE;
  if (opcodeOf(message) !== 0) return { kind: 'answer', message: writeRefusal(message, undefined, RCODE.NOTIMP) };
  const question = readQuestion(message);
  if (!question) return { kind: 'answer', message: writeRefusal(message, undefined, RCODE.FORMERR) };
  if (question.class !== CLASS_IN) return FORWARD;

  const own = (answer: Omit<WireAnswer, 'ttl'>, isVirtual = false): Decision => ({
    kind: 'answer',
    message: writeAnswer(message, question, transport, { ...answer, ttl: TTL_SECONDS }),
    ...(isVirtual && answer.answers.length > 0 ? { isVirtual } : {}),
  });
  const { type } = question;
  const name = links?.get(question.name) ?? question.name;
  const known = records.find(networks, name);
  if (known) {
    const { ipv4, ipv6 } = known.addresses();
    // Known name, other type: "nothing of that kind". For AAAA an NXDOMAIN would make musl and glibc give the name up.
    const answers = [
      ...(type === TYPE.A || type === TYPE.ANY ? addressRecords(TYPE.A, ipv4, transport, random) : []),
      ...(type === TYPE.AAAA || type === TYPE.ANY ? addressRecords(TYPE.AAAA, ipv6, transport, random) : []),
    ];
    return own({ answers }, known.isVirtual);
  }
  if (type === TYPE.PTR) {
    const address = addressOfReverse(name);
    const owner = address && records.owner(networks, address);
    return owner === undefined ? FORWARD : own({ answers: [{ type: TYPE.PTR, data: writeName(owner) }] });
  }
  const service = /^_(\d{1,5})\._(?:tcp|udp|sctp)\.(.+)$/.exec(name);
  const found = service && records.find(networks, service[2] ?? '');
  if (!found || Number(service[1]) > 65535) return FORWARD;
  return own(
    type === TYPE.SRV || type === TYPE.ANY ? serviceRecords(found, Number(service[1]), random) : { answers: [] },
  );
}

/** The answer where nobody can be asked, or nobody answers: a name of one label can only be one of ours, so it does not exist. */
export function withoutUpstream(message: Buffer): Buffer {
  const question = readQuestion(message);
  if (!question) return writeRefusal(message, undefined, RCODE.FORMERR);
  return writeRefusal(message, question, question.name.includes('.') ? RCODE.SERVFAIL : RCODE.NXDOMAIN);
}

/** "The server failed", for questions whose upstreams did not answer. */
export function serverFailure(message: Buffer): Buffer {
  return writeRefusal(message, readQuestion(message), RCODE.SERVFAIL);
}

/** More than this are not put in a random order: they begin at a random place. */
const SHUFFLED_AT_MOST = 64;

/** More than fit into a datagram of ours are not looked at: that some are left out shows all the same. */
const DATAGRAM_HOLDS = 300;

function addressRecords(
  type: number,
  addresses: readonly Buffer[],
  transport: 'udp' | 'tcp',
  random: Random,
): readonly WireRecord[] {
  return spread(addresses, random, transport === 'udp' ? DATAGRAM_HOLDS : addresses.length).map((data) => ({
    type,
    data,
  }));
}

/**
 * Every task that serves, with the port that was asked for and its own name on the network, which resolves as well (RFC 2782).
 */
function serviceRecords({ network, endpoints }: KnownName, port: number, random: Random): Omit<WireAnswer, 'ttl'> {
  const targets = spread([...endpoints()], random).map((endpoint) => ({
    endpoint,
    name: targetName(endpoint, network),
  }));
  // Priority 0, weight 1: all alike.
  const head = Buffer.from([0, 0, 0, 1, port >> 8, port & 255]);
  return {
    answers: targets.map(({ name }) => ({ type: TYPE.SRV, data: Buffer.concat([head, writeName(name)]) })),
    additional: targets.flatMap(({ endpoint: { ipv4, ipv6 }, name }) => [
      ...(ipv4 === '' ? [] : [{ type: TYPE.A, owner: name, data: ipBytes(ipv4) }]),
      ...(ipv6 === undefined ? [] : [{ type: TYPE.AAAA, owner: name, data: ipBytes(ipv6) }]),
    ]),
  };
}

function targetName({ name }: NetworkEndpoint, network: AskedNetwork): string {
  return network.name === '' ? name : `${name}.${network.name}`;
}

/** "5.0.128.10.in-addr.arpa" (RFC 1035, 3.5) or the nibbles below ip6.arpa (RFC 3596, 2.5) as the address's bytes. */
function addressOfReverse(name: string): Buffer | undefined {
  const parts = name.split('.');
  if (name.endsWith('.in-addr.arpa') && parts.length === 6) {
    const text = parts.slice(0, 4).reverse().join('.');
    return readIp(text) ? ipBytes(text) : undefined;
  }
  if (!name.endsWith('.ip6.arpa') || parts.length !== 34) return undefined;
  const digits = parts.slice(0, 32).reverse().join('');
  return /^[0-9a-f]{32}$/.test(digits) ? Buffer.from(digits, 'hex') : undefined;
}

/** In changing order, so that clients that take the first spread over all. @param most of them that are wanted */
function spread<T>(values: readonly T[], random: Random, most = values.length): readonly T[] {
  const { length } = values;
  if (length < 2) return values;
  if (length > SHUFFLED_AT_MOST) {
    const start = Math.floor(random.next() * length);
    const behind = values.slice(start, start + most);
    return behind.length === most ? behind : [...behind, ...values.slice(0, Math.min(start, most - behind.length))];
  }
  const copy = [...values];
  for (let i = length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [copy[i], copy[j]] = [copy[j] as T, copy[i] as T];
  }
  return copy;
}
