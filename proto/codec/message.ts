import type { MessageName } from '../gen/messages.js';
import { tsswarm } from '../gen/messages.js';
import { TsswarmError } from '../../base/errors.ts';

/** Turns a readonly domain value into wire bytes and back. */
export interface Codec<T> {
  encode(value: T): Buffer;
  /** @throws CORRUPT when the bytes are not such a message */
  decode(bytes: Uint8Array): T;
}

/** Every field filled (proto3 defaults), 64-bit integers as safe numbers; fields marked `optional` stay absent. */
const TO_DOMAIN = { defaults: true, arrays: true, objects: true, longs: Number, oneofs: false };

/**
 * The codec of a message whose domain type has the same shape. This is the only place that sees wire objects.
 * @typeParam T the domain type; the .proto file and proto/types say the same thing twice, and `codec.test.ts` compares
 */
export function codec<T extends object>(name: MessageName): Codec<T> {
  const message = tsswarm.v1[name];
  return {
    encode(value) {
      const bytes = message.encode(message.fromObject(value)).finish();
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    },
    decode(bytes) {
      try {
        return message.toObject(message.decode(bytes), TO_DOMAIN) as T;
      } catch (cause) {
        throw new TsswarmError('CORRUPT', `decoding a ${name} message: the bytes are not one`, { cause });
      }
    },
  };
}
