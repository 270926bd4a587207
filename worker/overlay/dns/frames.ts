/** DNS over TCP: each message after its length in two bytes (RFC 1035, 4.2.2). Pure. */

export function frame(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** Puts messages together from the parts in which they arrive. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** @returns the messages that are complete now */
  push(part: Buffer): readonly Buffer[] {
    this.#rest = this.#rest.length === 0 ? part : Buffer.concat([this.#rest, part]);
    const messages: Buffer[] = [];
    while (this.#rest.length >= 2) {
      const end = 2 + this.#rest.readUInt16BE(0);
      if (this.#rest.length < end) break;
      messages.push(this.#rest.subarray(2, end));
      this.#rest = this.#rest.subarray(end);
    }
    return messages;
  }
}
