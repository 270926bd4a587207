/**
 * The frames of a container's control socket: one byte of type, four of length (big endian), the payload. The other end
 * is `node-engine/native/launcher/control.c`; `docs/launcher.md` describes both.
 */

/** What a client may say. */
export type RequestType = 'A' | 'I' | 'C' | 'R' | 'K' | 'L' | 'O';

const HEADER = 5;
/** The supervisor sends at most one read of 64 KiB in a frame; anything far above that is not our protocol. */
const LONGEST = 1024 * 1024;

/** One frame as bytes. */
export function encodeFrame(type: RequestType, payload: Uint8Array = new Uint8Array(0)): Buffer {
  const frame = Buffer.allocUnsafe(HEADER + payload.length);
  frame.write(type, 0, 'latin1');
  frame.writeUInt32BE(payload.length, 1);
  frame.set(payload, HEADER);
  return frame;
}

/** The payload of an 'R' frame. */
export function encodeSize(columns: number, rows: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt16BE(columns & 0xffff, 0);
  payload.writeUInt16BE(rows & 0xffff, 2);
  return payload;
}

/** The payload of an 'O' frame. */
export function encodeRotation(maxBytes: number, maxFiles: number): Buffer {
  const payload = Buffer.allocUnsafe(12);
  payload.writeBigUInt64BE(BigInt(maxBytes), 0);
  payload.writeUInt32BE(maxFiles, 8);
  return payload;
}

/** What the supervisor says. */
export type Announcement =
  | { readonly type: 'output'; readonly stream: 'stdout' | 'stderr'; readonly data: Uint8Array }
  | { readonly type: 'done' }
  | { readonly type: 'exit'; readonly code: number; readonly oomKilled: boolean };

/** Cuts the bytes of a control socket into frames, whatever pieces they come in. */
export class FrameDecoder {
  #rest: Buffer = Buffer.alloc(0);

  /** @throws Error when the bytes are not our protocol */
  push(chunk: Uint8Array): Announcement[] {
    let buffer: Buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (this.#rest.length > 0) buffer = Buffer.concat([this.#rest, buffer]);
    const found: Announcement[] = [];
    let at = 0;
    while (buffer.length - at >= HEADER) {
      const length = buffer.readUInt32BE(at + 1);
      if (length > LONGEST) throw new Error(`a frame of ${length} bytes on the control socket`);
      if (buffer.length - at < HEADER + length) break;
      found.push(read(buffer[at] ?? 0, buffer.subarray(at + HEADER, at + HEADER + length)));
      at += HEADER + length;
    }
    this.#rest = buffer.subarray(at);
    return found;
  }
}

function read(type: number, payload: Buffer): Announcement {
  switch (String.fromCharCode(type)) {
    case '1':
      return { type: 'output', stream: 'stdout', data: payload };
    case '2':
      return { type: 'output', stream: 'stderr', data: payload };
    case 'O':
      return { type: 'done' };
    case 'X':
      if (payload.length !== 5) break;
      return { type: 'exit', code: payload.readInt32BE(0), oomKilled: payload[4] !== 0 };
  }
  throw new Error(`a frame of unknown type ${type} on the control socket`);
}
