import { TsswarmError } from './errors.ts';
import { formatReference, parseReference } from './image-reference.ts';

/** Digits of a digest that tell it from others. */
const DIGEST_DIGITS = 12;

/**
 * Short form of an image's name or digest, to compare what a node has with what a task asks for: equal references have equal
 * keys, others nearly never. A digest counts more than the name before it. Text that is no reference has none.
 */
export function imageKey(reference: string): string | undefined {
  const digest = /(?:^|@)sha256:([0-9a-f]{64})$/.exec(reference)?.[1];
  if (digest !== undefined) return digest.slice(0, DIGEST_DIGITS);
  try {
    return hashed(formatReference(parseReference(reference)));
  } catch (error) {
    if (error instanceof TsswarmError) return undefined;
    throw error;
  }
}

/** FNV-1a in two lanes of 32 bits, in base 36. */
function hashed(text: string): string {
  let low = 0x811c9dc5;
  let high = 0xcbf29ce4;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    low = Math.imul(low ^ code, 0x01000193);
    high = Math.imul(high ^ (code + i), 0x01000193);
  }
  return (low >>> 0).toString(36) + (high >>> 0).toString(36);
}
