/**
 * Netlink's message format (RFC 3549; linux/netlink.h): a header, a family header and attributes, all in the machine's byte
 * order and aligned to 4 bytes. Pure: sending is the addon's.
 */
import { endianness } from 'node:os';
import { getSystemErrorMap } from 'node:util';

const HEADER_BYTES = 16;
const LITTLE = endianness() === 'LE';

export const NLM_F = { REQUEST: 0x1, ACK: 0x4, DUMP: 0x300, REPLACE: 0x100, EXCL: 0x200, CREATE: 0x400 } as const;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

/** One request, and what to say of it when the kernel refuses. */
export interface NetlinkMessage {
  /** Completes "cannot …". */
  readonly what: string;
  readonly type: number;
  readonly flags: number;
  /** Family header and attributes. */
  readonly body: Buffer;
  /** Errors that mean the state wanted is already there. */
  readonly tolerate?: readonly string[];
  /** The kernel reads nothing that is sent together with it and stands behind it. */
  readonly isLast?: true;
}

/** An unsigned 16-bit number in the machine's byte order. */
export function u16(value: number): Buffer {
  const buffer = Buffer.alloc(2);
  if (LITTLE) buffer.writeUInt16LE(value);
  else buffer.writeUInt16BE(value);
  return buffer;
}

/** An unsigned 32-bit number in the machine's byte order. */
export function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  if (LITTLE) buffer.writeUInt32LE(value >>> 0);
  else buffer.writeUInt32BE(value >>> 0);
  return buffer;
}

export function readU16(buffer: Buffer, offset: number): number {
  return LITTLE ? buffer.readUInt16LE(offset) : buffer.readUInt16BE(offset);
}

export function readU32(buffer: Buffer, offset: number): number {
  return LITTLE ? buffer.readUInt32LE(offset) : buffer.readUInt32BE(offset);
}

/** A zero-terminated string. */
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

/** One attribute, padded to 4 bytes; its length field does not count the padding. */
export function attribute(type: number, value: Buffer): Buffer {
  return Buffer.concat([u16(4 + value.length), u16(type), value, padding(value.length)]);
}

/** An attribute that holds attributes. */
export function nested(type: number, ...attributes: readonly Buffer[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

/** The requests as one buffer, numbered from 1 in their order. */
export function encode(messages: readonly NetlinkMessage[]): Buffer {
  return Buffer.concat(
    messages.flatMap(({ type, flags, body }, index) => [
      u32(HEADER_BYTES + body.length),
      u16(type),
      u16(flags | NLM_F.REQUEST),
      u32(index + 1),
      u32(0),
      body,
      padding(body.length),
    ]),
  );
}

export interface NetlinkReply {
  readonly type: number;
  /** Number of the request it answers. */
  readonly sequence: number;
  readonly body: Buffer;
}

export interface NetlinkFailure {
  readonly message: NetlinkMessage;
  /** "EEXIST" */
  readonly errno: string;
  /** The kernel's own explanation where it gives one (extended acknowledgement), else the errno's text. */
  readonly reason: string;
}

export interface NetlinkOutcome {
  /** What was asked for: links, addresses. */
  readonly replies: readonly NetlinkReply[];
  /** Refused requests, but those whose error is tolerated. */
  readonly failures: readonly NetlinkFailure[];
}

/** The messages of what the kernel has sent without being asked. */
export function* messagesOf(bytes: Buffer): Generator<{ readonly type: number; readonly body: Buffer }> {
  for (let offset = 0; offset + HEADER_BYTES <= bytes.length;) {
    const length = readU32(bytes, offset);
    if (length < HEADER_BYTES || offset + length > bytes.length) return;
    yield { type: readU16(bytes, offset + 4), body: bytes.subarray(offset + HEADER_BYTES, offset + length) };
    offset += align(length);
  }
}

/** Takes the kernel's answers apart. @param messages the requests as they were encoded */
export function decode(messages: readonly NetlinkMessage[], answer: Buffer): NetlinkOutcome {
  const replies: NetlinkReply[] = [];
  const failures: NetlinkFailure[] = [];
  for (let offset = 0; offset + HEADER_BYTES <= answer.length;) {
    const length = readU32(answer, offset);
    if (length < HEADER_BYTES || offset + length > answer.length) break;
    const type = readU16(answer, offset + 4);
    const sequence = readU32(answer, offset + 8);
    const body = answer.subarray(offset + HEADER_BYTES, offset + length);
    if (type === NLMSG_ERROR) {
      const failure = failureOf(messages[sequence - 1], readU16(answer, offset + 6), body);
      if (failure) failures.push(failure);
    } else if (type !== NLMSG_DONE) {
      replies.push({ type, sequence, body });
    }
    offset += align(length);
  }
  return { replies, failures };
}

/** The attributes of a message body or of a nested attribute. @param offset length of the family header */
export function attributes(body: Buffer, offset: number): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>();
  while (offset + 4 <= body.length) {
    const length = readU16(body, offset);
    if (length < 4 || offset + length > body.length) break;
    found.set(readU16(body, offset + 2) & NLA_TYPE_MASK, body.subarray(offset + 4, offset + length));
    offset += align(length);
  }
  return found;
}

/** A string attribute without its terminating zero; empty if absent. */
export function readText(value: Buffer | undefined): string {
  return value === undefined ? '' : value.toString('utf8').replace(/\0.*$/s, '');
}

/** Flag of an acknowledgement: the request's header was not followed by its body (we ask for that). */
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;

function failureOf(message: NetlinkMessage | undefined, flags: number, body: Buffer): NetlinkFailure | undefined {
  const error = LITTLE ? body.readInt32LE(0) : body.readInt32BE(0);
  if (error === 0 || message === undefined) return undefined;
  const [errno, meaning] = getSystemErrorMap().get(error) ?? [`E${-error}`, 'unknown error'];
  if (message.tolerate?.includes(errno)) return undefined;
  const echoed = flags & NLM_F_CAPPED ? HEADER_BYTES : readU32(body, 4);
  const explained = flags & NLM_F_ACK_TLVS ? readText(attributes(body, 4 + align(echoed)).get(NLMSGERR_ATTR_MSG)) : '';
  return { message, errno, reason: explained === '' ? meaning : explained };
}

function align(length: number): number {
  return (length + 3) & ~3;
}

function padding(length: number): Buffer {
  return Buffer.alloc(align(length) - length);
}
