import { sleep } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import type { NodeBindSources } from '../../proto/types/index.ts';

/** How often it is looked whether what was there is there still. */
const AGAIN_MS = 5_000;
/** A path that does not answer, as of a file server that is gone, is not there. */
const ANSWER_MS = 1_000;

export interface BindSourcesOptions {
  /** Whether there is something at a path of this machine. */
  readonly exists: (path: string) => Promise<boolean>;
  readonly clock: Clock;
  /** There is something to say: it has changed, or was asked for. */
  readonly onChange: () => void;
}

/** Which of the paths that the managers ask for this node has. */
export interface BindSources {
  /** All that is known. */
  readonly known: () => NodeBindSources;
  /** How often the managers have asked: what was said before they asked last may have gone under with what they did not ask for. */
  readonly asked: () => number;
  /** What the managers ask for from now on. */
  want(paths: readonly string[]): void;
  /** Looks again: for what is missing, as a folder may be made at any time; for the rest if that was a while ago. */
  look(): void;
}

/** Makes it; nothing is asked for yet. */
export function createBindSources({ exists, clock, onChange }: BindSourcesOptions): BindSources {
  let wanted: ReadonlySet<string> = new Set();
  const known = new Map<string, boolean>();
  /** Looks that have not ended: one that hangs holds a thread of this process, and is not made twice. */
  const open = new Set<string>();
  let lookedAt = -Infinity;
  let asked = 0;

  const ask = async (path: string): Promise<boolean> => {
    if (open.has(path)) return false;
    open.add(path);
    const found = exists(path)
      .catch(() => false)
      .finally(() => open.delete(path));
    const enough = new AbortController();
    const late = sleep(clock, ANSWER_MS, enough.signal).then(
      () => false,
      () => false,
    );
    const answer = await Promise.race([found, late]);
    enough.abort();
    return answer;
  };
  const lookAt = async (paths: readonly string[]): Promise<void> => {
    const answers = await Promise.all(paths.map(async (path) => [path, await ask(path)] as const));
    let isNews = false;
    for (const [path, answer] of answers) {
      if (!wanted.has(path) || known.get(path) === answer) continue;
      known.set(path, answer);
      isNews = true;
    }
    if (isNews) onChange();
  };
  return {
    asked: () => asked,
    known() {
      const paths = [...known].sort(([a], [b]) => (a < b ? -1 : 1));
      const of = (has: boolean): readonly string[] => paths.flatMap(([path, is]) => (is === has ? [path] : []));
      return { present: of(true), missing: of(false) };
    },
    want(paths) {
      asked++;
      wanted = new Set(paths);
      for (const path of known.keys()) if (!wanted.has(path)) known.delete(path);
      const fresh = paths.filter((path) => !known.has(path));
      if (fresh.length > 0) void lookAt(fresh);
      else if (paths.length > 0) onChange();
    },
    look() {
      const isDue = clock.monotonic() - lookedAt >= AGAIN_MS;
      if (isDue) lookedAt = clock.monotonic();
      const due = isDue ? [...wanted] : [...wanted].filter((path) => known.get(path) === false);
      if (due.length > 0) void lookAt(due);
    },
  };
}
