import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';

/** Results kept; the oldest are forgotten first, and their layers with them. */
const MAX_ENTRIES = 1000;

/** What a step made before: key of parent, instruction and content → diff id of the layer. */
export interface BuildCache {
  get(key: string): string | undefined;
  put(key: string, diffId: string): void;
  /** Layers that the cache holds. */
  roots(): Iterable<string>;
}

/** Reads the cache from its file; a damaged one is an empty one, for it can all be made again. */
export function openBuildCache(path: string): BuildCache {
  let entries = new Map<string, string>();
  try {
    entries = new Map(Object.entries(JSON.parse(readFileSync(path, 'utf8')) as Record<string, string>));
  } catch {
    mkdirSync(dirname(path), { recursive: true });
  }
  return {
    get: (key) => entries.get(key),
    put(key, diffId) {
      entries.delete(key);
      entries.set(key, diffId);
      for (const oldest of entries.keys()) {
        if (entries.size <= MAX_ENTRIES) break;
        entries.delete(oldest);
      }
      writeFileSync(`${path}.new`, JSON.stringify(Object.fromEntries(entries)));
      renameSync(`${path}.new`, path);
    },
    roots: () => entries.values(),
  };
}

/** The key of a step. */
export const cacheKey = (...parts: readonly unknown[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex');
