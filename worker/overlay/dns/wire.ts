/**
 * The part of DNS messages that the resolver reads and writes itself: one question, and answers to it (RFC 1035, 4; RFC 2782 for
 * SRV; RFC 6891 for the extension mechanism). Names in answers are the question's by pointer or written in full. Pure.
 */

export const TYPE = { A: 1, PTR: 12, AAAA: 28, SRV: 33, OPT: 41, ANY: 255 } as const;
export const CLASS_IN = 1;
export const RCODE = { FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4 } as const;

export const HEADER_BYTES = 12;
const QR = 0x8000;
const OPCODE_MASK = 0x7800;
const AUTHORITATIVE = 0x0400;
const TRUNCATED = 0x0200;
const RECURSION_DESIRED = 0x0100;
const RECURSION_AVAILABLE = 0x0080;
/** "The name of the question", which always begins there. */
const POINTER_TO_QUESTION = 0xc000 | HEADER_BYTES;
const OPTION_BYTES = 11;
const MAX_NAME_BYTES = 255;
/** The least that every client takes over UDP, and the most that we send. */
const MIN_UDP_BYTES = 512;
const MAX_UDP_BYTES = 4096;
const MAX_TCP_BYTES = 65535;

export interface WireQuestion {
  /** In lower case, without a dot at the end: "web.shop_default"; empty for the root. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Where the question ends in the message. */
  readonly end: number;
  /** What the client takes over UDP if it knows the extension mechanism; undefined: it does not. */
  readonly udpBytes: number | undefined;
}

/** Whether it can be a question at all: answering anything else would invite loops. */
export function isQuery(message: Buffer): boolean {
  return message.length >= HEADER_BYTES && (message.readUInt16BE(2) & QR) === 0;
}

/** 0 is a plain query (RFC 1035, 4.1.1). */
export function opcodeOf(message: Buffer): number {
  return (message.readUInt16BE(2) & OPCODE_MASK) >> 11;
}

/** The one question of a message; undefined: it is malformed, or asks several at once, which nobody answers. */
export function readQuestion(message: Buffer): WireQuestion | undefined {
  if (message.readUInt16BE(4) !== 1) return undefined;
  let name = '';
  let offset = HEADER_BYTES;
  for (;;) {
    const length = message[offset++];
    if (length === undefined || length > 63 || offset + length > message.length) return undefined;
    if (length === 0) break;
    if (name !== '') name += '.';
    name += message.toString('latin1', offset, offset + length);
    offset += length;
  }
  if (offset - HEADER_BYTES > MAX_NAME_BYTES || offset + 4 > message.length) return undefined;
  const end = offset + 4;
  const records = message.readUInt16BE(6) + message.readUInt16BE(8) + message.readUInt16BE(10);
  const udpBytes = records === 0 ? undefined : optionOf(message, end, records);
  if (udpBytes === MALFORMED) return undefined;
  return {
    name: name.toLowerCase(),
    type: message.readUInt16BE(offset),
    class: message.readUInt16BE(offset + 2),
    end,
    udpBytes,
  };
}

const MALFORMED = -1;

/** The size in the option record among the records that follow the question. */
function optionOf(message: Buffer, offset: number, records: number): number | undefined {
  let udpBytes: number | undefined;
  for (let i = 0; i < records; i++) {
    const start = offset;
    offset = nameEnd(message, offset);
    if (offset < 0 || offset + 10 > message.length) return MALFORMED;
    if (message.readUInt16BE(offset) === TYPE.OPT) {
      // Its owner is the root, and there is one at most (RFC 6891, 6.1.1).
      if (message[start] !== 0 || udpBytes !== undefined) return MALFORMED;
      udpBytes = message.readUInt16BE(offset + 2);
    }
    offset += 10 + message.readUInt16BE(offset + 8);
    if (offset > message.length) return MALFORMED;
  }
  return udpBytes;
}

/** Behind a name, which may end in a pointer; −1: it is malformed. */
function nameEnd(message: Buffer, offset: number): number {
  for (;;) {
    const length = message[offset];
    if (length === undefined) return -1;
    if (length === 0) return offset + 1;
    if (length >= 0xc0) return offset + 2;
    if (length > 63) return -1;
    offset += 1 + length;
  }
}

/** A record of an answer. */
export interface WireRecord {
  readonly type: number;
  /** Whose record it is; absent: the question's name. */
  readonly owner?: string;
  readonly data: Buffer;
}

export interface WireAnswer {
  readonly answers: readonly WireRecord[];
  /** Left out first where not all fits. */
  readonly additional?: readonly WireRecord[];
  /** Seconds that the records may be kept. */
  readonly ttl: number;
}

/**
 * An answer with authority. Over UDP as many records as fit: a client without TCP works with those, the others see that some are
 * missing and ask again over TCP.
 */
export function writeAnswer(
  message: Buffer,
  { end, udpBytes }: WireQuestion,
  transport: 'udp' | 'tcp',
  { answers, additional = [], ttl }: WireAnswer,
): Buffer {
  const limit =
    transport === 'tcp' ? MAX_TCP_BYTES : Math.min(MAX_UDP_BYTES, Math.max(MIN_UDP_BYTES, udpBytes ?? MIN_UDP_BYTES));
  const room = limit - end - (udpBytes === undefined ? 0 : OPTION_BYTES);
  const owners = new Map<string, Buffer>();
  const sizeOf = ({ owner, data }: WireRecord): number =>
    (owner === undefined ? 2 : ownerBytes(owner, owners)) + 10 + data.length;
  let size = 0;
  const fitting = (records: readonly WireRecord[]): number => {
    let count = 0;
    for (const record of records) {
      const bytes = sizeOf(record);
      if (size + bytes > room) break;
      size += bytes;
      count++;
    }
    return count;
  };
  const kept = fitting(answers);
  const extra = kept < answers.length ? 0 : fitting(additional);

  const reply = Buffer.allocUnsafe(end + size + (udpBytes === undefined ? 0 : OPTION_BYTES));
  message.copy(reply, 0, 0, end);
  const flags = QR | AUTHORITATIVE | RECURSION_AVAILABLE | (message.readUInt16BE(2) & RECURSION_DESIRED);
  reply.writeUInt16BE(kept < answers.length ? flags | TRUNCATED : flags, 2);
  reply.writeUInt16BE(kept, 6);
  reply.writeUInt16BE(0, 8);
  reply.writeUInt16BE(extra + (udpBytes === undefined ? 0 : 1), 10);
  let offset = end;
  for (let i = 0; i < kept; i++) offset = writeRecord(reply, offset, answers[i] as WireRecord, ttl, owners);
  for (let i = 0; i < extra; i++) offset = writeRecord(reply, offset, additional[i] as WireRecord, ttl, owners);
  if (udpBytes !== undefined) {
    reply.fill(0, offset);
    reply.writeUInt16BE(TYPE.OPT, offset + 1);
    reply.writeUInt16BE(MAX_UDP_BYTES, offset + 3);
  }
  return reply;
}

function ownerBytes(owner: string, owners: Map<string, Buffer>): number {
  let name = owners.get(owner);
  if (name === undefined) owners.set(owner, (name = writeName(owner)));
  return name.length;
}

function writeRecord(
  reply: Buffer,
  offset: number,
  record: WireRecord,
  ttl: number,
  owners: ReadonlyMap<string, Buffer>,
): number {
  const { type, owner, data } = record;
  if (owner === undefined) offset = reply.writeUInt16BE(POINTER_TO_QUESTION, offset);
  else offset += (owners.get(owner) ?? Buffer.alloc(1)).copy(reply, offset);
  offset = reply.writeUInt16BE(type, offset);
  offset = reply.writeUInt16BE(CLASS_IN, offset);
  offset = reply.writeUInt32BE(ttl, offset);
  offset = reply.writeUInt16BE(data.length, offset);
  return offset + data.copy(reply, offset);
}

/** "a.b" as labels. Of what is too long for a name (RFC 1035, 2.3.4) the rest is left away. */
export function writeName(name: string): Buffer {
  const parts: Buffer[] = [];
  let size = 1;
  for (const label of name.split('.')) {
    const bytes = Buffer.from(label, 'latin1').subarray(0, 63);
    if (bytes.length === 0 || (size += 1 + bytes.length) > MAX_NAME_BYTES) continue;
    parts.push(Buffer.from([bytes.length]), bytes);
  }
  parts.push(Buffer.from([0]));
  return Buffer.concat(parts);
}

/** The query's header, and its question where it can be read, with an error code. */
export function writeRefusal(message: Buffer, question: WireQuestion | undefined, rcode: number): Buffer {
  const end = question?.end ?? HEADER_BYTES;
  const reply = Buffer.from(message.subarray(0, end));
  const kept = message.readUInt16BE(2) & (OPCODE_MASK | RECURSION_DESIRED);
  reply.writeUInt16BE(QR | kept | RECURSION_AVAILABLE | rcode, 2);
  reply.writeUInt16BE(question === undefined ? 0 : 1, 4);
  reply.fill(0, 6, HEADER_BYTES);
  return reply;
}
