/**
 * Mends rules of ours in containers' namespaces when somebody there changes them: the kernel tells one socket of the transactions in all
 * namespaces that the node's has a number for. Nothing is asked periodically, and nothing runs in the containers.
 */
import { closeSync, openSync } from 'node:fs';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { watchRules } from '../native/addon.ts';
import { kernel } from './kernel.ts';
import { attributes, messagesOf, readText, readU32 } from './netlink.ts';
import { getNamespaceNumber, namespaceNumberOf, numberNamespace } from './namespace-number.ts';

const SUBSYSTEM = 10;
const NEWGEN = 15;
const HEADER_BYTES = 4;
const TABLE_NAME = 1;
const FRAME_BYTES = 8;
/** Who fights with somebody over rules does not do it all the time: each time twice as long after the last. */
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

export interface NamespaceGuard {
  /**
   * Begins to look after tables of a namespace.
   * @param netns file of the namespace
   * @param repair makes them as they should be
   * @returns ends it
   */
  guard(netns: string, tables: readonly string[], repair: () => Promise<void>): () => void;
  close(): Promise<void>;
}

/** The first namespace begins the listening. @param logger hears of what was mended */
export function createNamespaceGuard(logger: Logger): NamespaceGuard {
  const guarded = new Map<number, Set<Guarded>>();
  let watch: ReturnType<typeof watchRules> | undefined;

  const listen = async (): Promise<void> => {
    try {
      const own = (watch = watchRules(true));
      for (;;) {
        const { events, lost } = await own.next();
        if (events.length === 0 && !lost) return;
        if (lost) for (const all of guarded.values()) for (const one of all) one.touched();
        for (const [number, tables] of touchedTables(events))
          for (const one of guarded.get(number) ?? []) if (one.tables.some((name) => tables.has(name))) one.touched();
      }
    } catch (error) {
      logger.warn('changes of rules in containers are not heard of: they are mended with the next change', {
        reason: messageOf(error),
      });
    }
  };

  return {
    guard(netns, tables, repair) {
      if (watch === undefined) void listen();
      const one = new Guarded(tables, repair, logger.child({ netns }));
      const number = numberOf(netns).then(
        (found) => {
          if (one.ended) return undefined;
          const all = guarded.get(found) ?? new Set();
          guarded.set(found, all.add(one));
          return found;
        },
        (error: unknown) => {
          if (!one.ended) logger.warn('rules in a container are not looked after', { netns, reason: messageOf(error) });
          return undefined;
        },
      );
      return () => {
        one.end();
        void number.then((found) => {
          const all = found === undefined ? undefined : guarded.get(found);
          all?.delete(one);
          if (found !== undefined && all?.size === 0) guarded.delete(found);
        });
      };
    },
    async close() {
      for (const all of guarded.values()) for (const one of all) one.end();
      guarded.clear();
      await watch?.close();
    },
  };
}

/** Tables that foreign transactions touched, by the number of their namespace. Pure. */
function touchedTables(events: Buffer): ReadonlyMap<number, ReadonlySet<string>> {
  const found = new Map<number, Set<string>>();
  for (let offset = 0; offset + FRAME_BYTES <= events.length;) {
    const number = readU32(events, offset);
    const start = offset + FRAME_BYTES;
    offset = start + readU32(events, offset + 4);
    for (const { type, body } of messagesOf(events.subarray(start, offset))) {
      if (type >> 8 !== SUBSYSTEM || (type & 255) === NEWGEN) continue;
      const name = attributes(body, HEADER_BYTES).get(TABLE_NAME);
      if (name === undefined) continue;
      const tables = found.get(number) ?? new Set();
      found.set(number, tables.add(readText(name)));
    }
  }
  return found;
}

class Guarded {
  readonly tables: readonly string[];
  readonly #repair: () => Promise<void>;
  readonly #logger: Logger;
  #pause = FIRST_PAUSE_MS;
  /** It is being mended, or was just now. */
  #isBusy = false;
  #isTouched = false;
  #timer: NodeJS.Timeout | undefined;
  ended = false;

  constructor(tables: readonly string[], repair: () => Promise<void>, logger: Logger) {
    this.tables = tables;
    this.#repair = repair;
    this.#logger = logger;
  }

  touched(): void {
    this.#isTouched = true;
    if (!this.#isBusy) void this.#mend();
  }

  end(): void {
    this.ended = true;
    clearTimeout(this.#timer);
  }

  async #mend(): Promise<void> {
    if (this.ended) return;
    this.#isBusy = true;
    this.#isTouched = false;
    try {
      await this.#repair();
      this.#logger.warn('somebody has changed rules in a container: they were made again', {});
    } catch (error) {
      this.#isTouched = true;
      if (!this.ended) this.#logger.warn('mending rules in a container', { reason: messageOf(error) });
    }
    if (this.ended) return;
    this.#timer = setTimeout(() => {
      this.#isBusy = false;
      this.#pause = this.#isTouched ? Math.min(2 * this.#pause, LONGEST_PAUSE_MS) : FIRST_PAUSE_MS;
      if (this.#isTouched) void this.#mend();
    }, this.#pause).unref();
  }
}

/** The number that the node's namespace has for another; one is made where there is none. */
async function numberOf(netns: string): Promise<number> {
  const fd = openSync(netns, 'r');
  try {
    const { outside } = await kernel('a container', { outside: [numberNamespace(fd), getNamespaceNumber(fd)] });
    return namespaceNumberOf(outside);
  } finally {
    closeSync(fd);
  }
}
