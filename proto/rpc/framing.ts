import { TsswarmError } from '../../base/errors.ts';
import { MAX_MESSAGE_BYTES } from './limits.ts';

/** Before every message: a byte that says whether it is compressed, and its length in four, highest first. */
const PREFIX_BYTES = 5;

/** A message as it stands in a gRPC stream ("Length-Prefixed-Message" in gRPC's PROTOCOL-HTTP2.md), not compressed. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  framed.writeUInt8(0, 0);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}

/** Takes a stream's bytes apart again, however they were cut on the way. */
export class Deframer {
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  /** Bytes that the next message takes with its prefix, or the prefix alone while that is not whole. */
  #wanted = PREFIX_BYTES;

  /**
   * The messages that the bytes complete.
   * @throws TOO_LARGE, CORRUPT (compressed: nobody was asked for that)
   */
  take(bytes: Buffer): Buffer[] {
    this.#chunks.push(bytes);
    this.#bytes += bytes.length;
    const messages: Buffer[] = [];
    // Pieces are put together only once they make a whole: each byte is copied twice at most.
    while (this.#bytes >= this.#wanted) {
      const gathered = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
      if (this.#wanted === PREFIX_BYTES) this.#wanted += lengthIn(gathered);
      const whole = gathered.length >= this.#wanted;
      const rest = whole ? gathered.subarray(this.#wanted) : gathered;
      if (whole) {
        messages.push(gathered.subarray(PREFIX_BYTES, this.#wanted));
        this.#wanted = PREFIX_BYTES;
      }
      this.#chunks.length = 0;
      if (rest.length > 0) this.#chunks.push(rest);
      this.#bytes = rest.length;
    }
    return messages;
  }
}

function lengthIn(prefix: Buffer): number {
  if (prefix[0] !== 0) throw new TsswarmError('CORRUPT', 'reading a stream: a message is compressed');
  const length = prefix.readUInt32BE(1);
  if (length <= MAX_MESSAGE_BYTES) return length;
  throw new TsswarmError(
    'TOO_LARGE',
    `reading a stream: a message of ${length} bytes, expected at most ${MAX_MESSAGE_BYTES}`,
  );
}
