/** Bytes of a command's output that are kept, as Docker keeps 4096 of a probe's. */
const KEPT_OUTPUT_BYTES = 4096;

/** All that a command says, to its end; only the beginning is kept. */
export async function collectOutput(
  output: AsyncIterable<{ readonly data: Uint8Array }> | Iterable<{ readonly data: Uint8Array }>,
): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const { data } of output) {
    if (size < KEPT_OUTPUT_BYTES) parts.push(data.subarray(0, KEPT_OUTPUT_BYTES - size));
    size += data.length;
  }
  return Buffer.concat(parts).toString('utf8').trim();
}
