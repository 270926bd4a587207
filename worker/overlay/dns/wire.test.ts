import { deepEqual, equal, ok } from 'node:assert/strict';
import type { DecodedPacket, OptAnswer, Packet, RecordType } from 'dns-packet';
import { decode, encode } from 'dns-packet';
import { formatIpBytes } from '../../../base/ip-address.ts';
import type { Random } from '../../../base/random.ts';
import { seededRandom } from '../../../base/random.ts';
import { RCODE, TYPE, isQuery, readQuestion, writeAnswer, writeName, writeRefusal } from './wire.ts';

const TYPES = ['A', 'AAAA', 'PTR', 'SRV', 'TXT', 'MX'] as const;

function pick<T>(random: Random, values: readonly T[]): T {
  return values[Math.floor(random.next() * values.length)] as T;
}

function someQuery(random: Random): Packet {
  const label = (): string => Buffer.from(random.bytes(1 + Math.floor(random.next() * 20))).toString('hex');
  const name = Array.from({ length: 1 + Math.floor(random.next() * 4) }, label).join('.');
  const option = {
    type: 'OPT',
    name: '.',
    udpPayloadSize: Math.floor(random.next() * 65536),
    extendedRcode: 0,
    ednsVersion: 0,
    flags: 0,
    flag_do: false,
    options: [],
  } satisfies OptAnswer;
  return {
    type: 'query',
    id: Math.floor(random.next() * 65536),
    flags: random.next() < 0.5 ? 0x100 : 0,
    questions: [{ type: pick(random, TYPES) as RecordType, name: random.next() < 0.05 ? '.' : name, class: 'IN' }],
    additionals: [
      ...(random.next() < 0.2 ? [{ type: 'A', name: 'x.y', ttl: 1, data: '1.2.3.4' } as const] : []),
      ...(random.next() < 0.5 ? [option] : []),
    ],
  };
}

/** What another reader makes of a message; undefined: it cannot read it. */
function reference(message: Buffer): DecodedPacket | undefined {
  try {
    return decode(message);
  } catch {
    return undefined;
  }
}

describe('messages of DNS', () => {
  it('are read as another reader reads them', () => {
    const random = seededRandom(5);
    for (let i = 0; i < 3000; i++) {
      const packet = someQuery(random);
      const question = readQuestion(encode(packet));
      ok(question);
      equal(question.name, packet.questions?.[0]?.name.replace(/^\.$/, ''));
      equal(
        question.type,
        { A: 1, AAAA: 28, PTR: 12, SRV: 33, TXT: 16, MX: 15 }[packet.questions?.[0]?.type as string],
      );
      const option = packet.additionals?.find(({ type }) => type === 'OPT');
      equal(question.udpBytes, option && 'udpPayloadSize' in option ? option.udpPayloadSize : undefined);
    }
  });

  it('that were damaged are refused, or read as another reader reads them', () => {
    const random = seededRandom(6);
    let read = 0;
    for (let i = 0; i < 20_000; i++) {
      const message = encode(someQuery(random));
      const length = random.next() < 0.3 ? Math.floor(random.next() * message.length) : message.length;
      const damaged = Buffer.from(message.subarray(0, length));
      for (let n = Math.floor(random.next() * 4); n > 0 && damaged.length > 0; n--)
        damaged[Math.floor(random.next() * damaged.length)] = Math.floor(random.next() * 256);
      if (!isQuery(damaged)) continue;
      const question = readQuestion(damaged);
      // What is written back is read by everybody, whatever came.
      const refusal = reference(writeRefusal(damaged, question, RCODE.SERVFAIL));
      equal(refusal?.questions?.length, question ? 1 : 0);
      if (!question) continue;
      read++;
      const other = reference(damaged);
      // The other reader takes records apart that do not matter here, and may stumble over those.
      if (!other) continue;
      const name = other.questions?.[0]?.name.toLowerCase().replace(/^\.$/, '') ?? '';
      // It takes the bytes for UTF-8.
      if (/^[\x20-\x7e]*$/.test(question.name)) equal(question.name, name);
      equal(other.questions?.length, 1);
    }
    ok(read > 1000, `only ${read} were read`);
  });

  it('that are written are read by another reader, at any size', () => {
    const random = seededRandom(7);
    for (let i = 0; i < 500; i++) {
      const packet = someQuery(random);
      const message = encode(packet);
      const question = readQuestion(message);
      ok(question);
      const count = Math.floor(random.next() * 120);
      const addresses = Array.from({ length: count }, () => Buffer.from(random.bytes(i % 2 ? 16 : 4)));
      const transport = pick(random, ['udp', 'tcp'] as const);
      const reply = writeAnswer(message, question, transport, {
        answers: addresses.map((data) => ({ type: i % 2 ? TYPE.AAAA : TYPE.A, data })),
        additional: [{ type: TYPE.PTR, owner: 'a.b', data: writeName('c.d') }],
        ttl: 1,
      });
      const read = decode(reply);
      const limit = transport === 'tcp' ? 65535 : Math.min(4096, Math.max(512, question.udpBytes ?? 0));
      ok(reply.length <= limit);
      equal(read.id, packet.id);
      deepEqual(read.questions, packet.questions);
      const kept = read.answers?.length ?? 0;
      equal(((read.flags ?? 0) & 0x200) !== 0, kept < count, 'says when something is missing');
      deepEqual(
        read.answers?.map((answer) => ('data' in answer ? String(answer.data) : '')),
        addresses.slice(0, kept).map(formatIpBytes),
      );
      equal(read.additionals?.some(({ type }) => type === 'OPT') ?? false, question.udpBytes !== undefined);
      if (kept < count) ok(reply.length > limit - 60, 'as many as fit');
      else ok(read.additionals?.some(({ name }) => name === 'a.b') === true || reply.length > limit - 40);
    }
  });

  it('never hold a name that is too long', () => {
    for (const name of ['a'.repeat(300), `${'b'.repeat(60)}.`.repeat(9), '..', '']) {
      const bytes = writeName(name);
      ok(bytes.length <= 255);
      equal(bytes.at(-1), 0);
    }
  });
});
