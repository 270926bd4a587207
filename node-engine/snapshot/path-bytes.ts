/** A path for a system call: a string, or the bytes themselves where they are no ASCII. */
export type PathBytes = string | Buffer;

/**
 * A path from latin1-decoded bytes, the form in which names are kept as keys: a string where that is the same, else bytes.
 * @param prefix put before it as it is, e.g. "/var/lib/x/"
 */
export function pathOf(latin1: string, prefix = ''): PathBytes {
  if (/^[\x00-\x7f]*$/.test(latin1)) return prefix + latin1;
  return Buffer.concat([Buffer.from(prefix), Buffer.from(latin1, 'latin1')]);
}
