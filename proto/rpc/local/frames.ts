/**
 * The frames of the local protocol: the calls of proto/rpc/services over a unix socket, without HTTP/2. A command lives for
 * some tens of milliseconds; loading Node's HTTP/2 and opening a session took half of them (docs/decisions/0006).
 *
 * Both sides begin with the preface, then frames follow: body length (u32), call id (u32), kind (u8), body. All big-endian.
 */
import { TsswarmError } from '../../../base/errors.ts';
import { SHAPE } from '../../gen/shape.ts';
import { MAX_MESSAGE_BYTES } from '../limits.ts';

/**
 * What each side sends first: the protocol, and the shape of the messages that it knows. HTTP/2 begins with "PRI": one
 * socket can tell them apart by the first byte.
 */
export const PREFACE = Buffer.from(`TSW1${SHAPE}`);

/** What a frame says about its call. */
export const FrameKind = {
  /** Caller: path length (u8), path, the only message. */
  call: 1,
  /** Caller: path length (u8), path; messages follow. */
  openStream: 2,
  /** Both: one message of a stream. */
  message: 3,
  /** Caller: no more messages. */
  endOfMessages: 4,
  /** Caller: is not interested any more. */
  cancel: 5,
  /** Both: so many more bytes (u32) of messages may be sent. */
  credit: 6,
  /** Server: the last message and the end of the call. */
  answer: 7,
  /** Server: the end of a stream. */
  done: 8,
  /** Server: the end of the call, with the error as JSON. */
  failure: 9,
} as const;

export interface Frame {
  readonly kind: number;
  readonly callId: number;
  readonly body: Buffer;
}

const HEADER_BYTES = 9;

/** A frame as one buffer, its body made of `parts`. */
export function encodeFrame(kind: number, callId: number, ...parts: readonly Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const frame = Buffer.allocUnsafe(HEADER_BYTES + length);
  frame.writeUInt32BE(length, 0);
  frame.writeUInt32BE(callId, 4);
  frame.writeUInt8(kind, 8);
  let at = HEADER_BYTES;
  for (const part of parts) {
    frame.set(part, at);
    at += part.length;
  }
  return frame;
}

/** The body of `call` and `openStream` before the message. */
export function encodePath(path: string): Buffer {
  const bytes = Buffer.from(path);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

/** Path and message of a body that `encodePath` began. */
export function decodePath(body: Buffer): { readonly path: string; readonly message: Buffer } {
  const end = 1 + (body[0] ?? 0);
  return { path: body.toString('utf8', 1, end), message: body.subarray(end) };
}

export function encodeCredit(callId: number, bytes: number): Buffer {
  const body = Buffer.allocUnsafe(4);
  body.writeUInt32BE(bytes);
  return encodeFrame(FrameKind.credit, callId, body);
}

/** The other side speaks another version of the protocol or of the messages. */
export class OtherShapeError extends Error {}

/** Cuts a stream of bytes, which begins with the preface, into frames. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #length = 0;
  #greeted = false;

  /** The other side's preface has come, and is ours. */
  get greeted(): boolean {
    return this.#greeted;
  }

  /**
   * The frames that are complete with `chunk`.
   * @throws OtherShapeError when the preface is not ours; TOO_LARGE for a frame that nobody of ours would send
   */
  push(chunk: Buffer): Frame[] {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    const frames: Frame[] = [];
    if (!this.#greeted) {
      if (this.#length < PREFACE.length) return frames;
      if (!this.#peek(PREFACE.length).equals(PREFACE))
        throw new OtherShapeError('the other side is of another version');
      this.#drop(PREFACE.length);
      this.#greeted = true;
    }
    while (this.#length >= HEADER_BYTES) {
      const header = this.#peek(HEADER_BYTES);
      const bodyLength = header.readUInt32BE(0);
      // A path of at most 255 bytes may stand before the message.
      if (bodyLength > MAX_MESSAGE_BYTES + 256) {
        throw new TsswarmError(
          'TOO_LARGE',
          `reading a message of ${bodyLength} bytes: at most ${MAX_MESSAGE_BYTES} are allowed`,
        );
      }
      if (this.#length < HEADER_BYTES + bodyLength) break;
      const whole = this.#peek(HEADER_BYTES + bodyLength);
      this.#drop(whole.length);
      frames.push({ callId: whole.readUInt32BE(4), kind: whole.readUInt8(8), body: whole.subarray(HEADER_BYTES) });
    }
    return frames;
  }

  /** The first `length` bytes in one piece. */
  #peek(length: number): Buffer {
    const [first] = this.#chunks;
    if (first !== undefined && first.length >= length) return first.subarray(0, length);
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all];
    return all.subarray(0, length);
  }

  #drop(length: number): void {
    this.#length -= length;
    const [first] = this.#chunks;
    if (first === undefined) return;
    if (first.length === length) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(length);
  }
}
