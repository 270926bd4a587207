import fs from 'node:fs';
import type { KernelCalls } from './kernel-calls.ts';
import { pathOf } from './path-bytes.ts';
import type { PathBytes } from './path-bytes.ts';

/** A file of a lower layer. */
export interface LowerEntry {
  readonly path: PathBytes;
  readonly stat: fs.BigIntStats;
}

/** The attribute that hides what lower layers have in a directory, and the value that says so. */
export const OPAQUE_XATTR = 'trusted.overlay.opaque';

/**
 * The file that a stack of layers shows at `relative`, without mounting it: of the top-most layer that has one, unless a
 * whiteout, an opaque directory or a file in place of a directory hides it. Links among its directories are not followed.
 * @param lower top-most first
 * @param relative latin1-decoded bytes, e.g. "usr/lib"
 */
export function lowerEntry(calls: KernelCalls, lower: readonly string[], relative: string): LowerEntry | undefined {
  const parts = relative.split('/');
  for (const layer of lower) {
    const found = entryOfLayer(calls, layer, parts);
    if (found === 'hidden') return undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

function entryOfLayer(calls: KernelCalls, layer: string, parts: readonly string[]): LowerEntry | 'hidden' | undefined {
  let opaque = false;
  for (let depth = 1; depth <= parts.length; depth++) {
    const path = pathOf(parts.slice(0, depth).join('/'), `${layer}/`);
    const stat = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) return opaque ? 'hidden' : undefined;
    if (depth === parts.length) return stat.isCharacterDevice() && stat.rdev === 0n ? 'hidden' : { path, stat };
    if (!stat.isDirectory()) return 'hidden';
    opaque ||= calls.lgetxattr(path, OPAQUE_XATTR)?.[0] === 0x79; // "y"
  }
  return undefined;
}
