/**
 * Values as the local protocol carries them: in V8's own serialisation, which every Node has at hand. Both ends must have the
 * same messages for that: they compare SHAPE (proto/gen/shape.ts) before anything else.
 */
import { deserialize, serialize } from 'node:v8';
import { TsswarmError } from '../../../base/errors.ts';
import { MAX_MESSAGE_BYTES } from '../limits.ts';

/** @throws TOO_LARGE */
export function encodeValue(value: unknown): Buffer {
  const bytes = serialize(value);
  if (bytes.length <= MAX_MESSAGE_BYTES) return bytes;
  throw new TsswarmError(
    'TOO_LARGE',
    `sending a message of ${bytes.length} bytes: at most ${MAX_MESSAGE_BYTES} are allowed`,
    { hint: 'keep large files in volumes instead of secrets and configs' },
  );
}

/** @throws CORRUPT when the bytes are no value */
export function decodeValue(bytes: Buffer): unknown {
  try {
    return deserialize(bytes);
  } catch (cause) {
    throw new TsswarmError('CORRUPT', 'reading a message: the bytes are not one', { cause });
  }
}
