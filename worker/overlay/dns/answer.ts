/**
 * What to do with a question: answer it from the records, pass it on, or turn it down. Pure.
 * Message format: RFC 1035; extension mechanism: RFC 6891.
 */
import type { Answer, DecodedPacket, OptAnswer, Packet } from 'dns-packet';
import {
  AUTHORITATIVE_ANSWER,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
  decode,
  encode,
} from 'dns-packet';
import type { Random } from '../../../base/random.ts';
import type { AskedNetwork, Records } from './records.ts';
import { addressesOf, nameOf } from './records.ts';

/**
 * Seconds that an answer may be kept. One: a task that is replaced comes back with another address, and whoever keeps the
 * old one (the JVM, nginx) fails for that long; the resolver is on the same machine, so asking again costs next to nothing.
 */
const TTL_SECONDS = 1;
/** The least that every client takes over UDP, and the most that we send. */
const MIN_UDP_BYTES = 512;
const MAX_UDP_BYTES = 4096;

const RCODE = { FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4 } as const;
const HEADER_BYTES = 12;
const QR = 0x8000;

export interface Question {
  readonly records: Records;
  /** Those of the container that asks, in its order. */
  readonly networks: readonly AskedNetwork[];
  readonly transport: 'udp' | 'tcp';
  readonly message: Buffer;
}

export type Decision =
  | { readonly kind: 'answer'; readonly message: Buffer }
  | { readonly kind: 'forward' }
  /** Not a question at all: answering would invite loops. */
  | { readonly kind: 'ignore' };

/** Decides; `random` shuffles the addresses of a name, so that clients that take the first spread over all. */
export function decide({ records, networks, transport, message }: Question, random: Random): Decision {
  if (message.length < HEADER_BYTES || message.readUInt16BE(2) & QR) return { kind: 'ignore' };
  const opcode = (message.readUInt16BE(2) >> 11) & 15;
  if (opcode !== 0) return { kind: 'answer', message: refusal(message, RCODE.NOTIMP) };
  let query: DecodedPacket;
  try {
    query = decode(message);
  } catch {
    return { kind: 'answer', message: refusal(message, RCODE.FORMERR) };
  }
  const [question, ...more] = query.questions ?? [];
  if (!question || more.length > 0) return { kind: 'answer', message: refusal(message, RCODE.FORMERR) };
  if (question.class !== undefined && question.class !== 'IN') return { kind: 'forward' };

  const own = (answers: Answer[]): Decision => ({ kind: 'answer', message: respond(query, answers, transport) });
  if (question.type === 'PTR') {
    const name = nameOf(records, networks, question.name);
    return name === undefined
      ? { kind: 'forward' }
      : own([{ type: 'PTR', name: question.name, ttl: TTL_SECONDS, data: name }]);
  }
  const addresses = addressesOf(records, networks, question.name);
  if (!addresses) return { kind: 'forward' };
  // Known name, other type: "nothing of that kind". For AAAA an NXDOMAIN would make musl and glibc give the name up.
  if (question.type !== 'A' && (question.type as string) !== 'ANY') return own([]);
  return own(shuffled(addresses, random).map((data) => ({ type: 'A', name: question.name, ttl: TTL_SECONDS, data })));
}

/** The answer where nobody can be asked: a name of one label can only be one of ours, so it does not exist. */
export function withoutUpstream(message: Buffer): Buffer {
  let name = '';
  try {
    name = decode(message).questions?.[0]?.name ?? '';
  } catch {
    return refusal(message, RCODE.FORMERR);
  }
  return refusal(message, name.replace(/\.$/, '').includes('.') ? RCODE.SERVFAIL : RCODE.NXDOMAIN);
}

/** "The server failed", for questions whose upstreams did not answer. */
export function serverFailure(message: Buffer): Buffer {
  return refusal(message, RCODE.SERVFAIL);
}

/** The query's header and question with an error code. */
function refusal(message: Buffer, rcode: number): Buffer {
  const end = rcode === RCODE.FORMERR || rcode === RCODE.NOTIMP ? HEADER_BYTES : questionEnd(message);
  const reply = Buffer.from(message.subarray(0, end));
  const kept = message.readUInt16BE(2) & (0x7800 | RECURSION_DESIRED);
  reply.writeUInt16BE(QR | kept | RECURSION_AVAILABLE | rcode, 2);
  reply.writeUInt16BE(end === HEADER_BYTES ? 0 : 1, 4);
  reply.fill(0, 6, HEADER_BYTES);
  return reply;
}

/** Where the only question ends: labels up to an empty one, type and class. */
function questionEnd(message: Buffer): number {
  let offset = HEADER_BYTES;
  for (let length = message[offset]; length !== undefined && length !== 0; length = message[offset])
    offset += length + 1;
  const end = offset + 5;
  return end <= message.length ? end : HEADER_BYTES;
}

function respond(query: DecodedPacket, answers: Answer[], transport: 'udp' | 'tcp'): Buffer {
  const option = query.additionals?.find((record): record is OptAnswer => record.type === 'OPT');
  const packet = (kept: Answer[], truncated: boolean): Packet => ({
    type: 'response',
    id: query.id ?? 0,
    flags:
      AUTHORITATIVE_ANSWER |
      RECURSION_AVAILABLE |
      ((query.flags ?? 0) & RECURSION_DESIRED) |
      (truncated ? TRUNCATED_RESPONSE : 0),
    questions: query.questions ?? [],
    answers: kept,
    additionals: option
      ? [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: MAX_UDP_BYTES,
            extendedRcode: 0,
            ednsVersion: 0,
            flags: 0,
            flag_do: false,
            options: [],
          },
        ]
      : [],
  });
  const whole = encode(packet(answers, false));
  if (transport === 'tcp') return whole;
  const limit = Math.min(MAX_UDP_BYTES, Math.max(MIN_UDP_BYTES, option?.udpPayloadSize ?? 0));
  if (whole.length <= limit) return whole;
  // As many as fit: a client without TCP works with those, the others ask again over TCP.
  const bare = encode(packet([], true)).length;
  const each = (whole.length - bare) / answers.length;
  return encode(packet(answers.slice(0, Math.floor((limit - bare) / each)), true));
}

/** Fisher–Yates, on a copy. */
function shuffled<T>(values: readonly T[], random: Random): readonly T[] {
  const copy = [...values];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    [copy[i], copy[j]] = [copy[j] as T, copy[i] as T];
  }
  return copy;
}
