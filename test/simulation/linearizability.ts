/** One call of a client on one key. */
export interface Operation {
  kind: 'put' | 'get' | 'cas';
  readonly key: string;
  /** What was written; unique over the history. */
  readonly value: string;
  /** For "cas": what it expected to find. */
  expected: string;
  readonly calledAt: number;
  /** Infinity: nobody knows whether it took effect. */
  returnedAt: number;
  /** What "get" and "cas" found. */
  result: string;
}

/**
 * Whether the operations on one register could have happened one after another, each between its call and its return, with
 * these results. The search of Wing and Gong with Lowe's memory of configurations that were tried.
 * @returns undefined, or the longest order that could be found
 */
export function checkRegister(history: readonly Operation[]): readonly Operation[] | undefined {
  const operations = prune(history);
  const events = operations
    .flatMap((operation, id) => [
      { id, at: operation.calledAt, call: true },
      { id, at: operation.returnedAt, call: false },
    ])
    // At the same moment calls come first: such operations count as overlapping.
    .sort((a, b) => (a.at === b.at ? Number(b.call) - Number(a.call) : a.at - b.at));
  // A doubly linked list of the events that are left.
  const next = events.map((_, i) => i + 1);
  const previous = events.map((_, i) => i - 1);
  const end = events.length;
  let head = 0;
  const returnOf = new Map<number, number>();
  events.forEach((event, i) => {
    if (!event.call) returnOf.set(event.id, i);
  });
  const unlink = (i: number): void => {
    const [before, after] = [previous[i] as number, next[i] as number];
    if (before < 0) head = after;
    else next[before] = after;
    if (after < end) previous[after] = before;
  };
  const relink = (i: number): void => {
    const [before, after] = [previous[i] as number, next[i] as number];
    if (before < 0) head = i;
    else next[before] = i;
    if (after < end) previous[after] = i;
  };
  let done = 0n;
  let state = '';
  const seen = new Set<string>();
  const stack: { readonly at: number; readonly state: string }[] = [];
  let best: readonly Operation[] = [];
  let mustReturn = operations.filter(({ returnedAt }) => returnedAt !== Infinity).length;
  let at = head;
  while (mustReturn > 0) {
    const event = at < end ? events[at] : undefined;
    if (event?.call === true) {
      const operation = operations[event.id] as Operation;
      const after = apply(operation, state);
      if (after !== undefined) {
        const mask = done | (1n << BigInt(event.id));
        const key = `${mask.toString(36)}/${after}`;
        if (!seen.has(key)) {
          seen.add(key);
          stack.push({ at, state });
          done = mask;
          state = after;
          unlink(at);
          unlink(returnOf.get(event.id) as number);
          if (operation.returnedAt !== Infinity) mustReturn--;
          if (stack.length > best.length) best = stack.map((step) => operations[events[step.at]?.id ?? 0] as Operation);
          at = head;
          continue;
        }
      }
      at = next[at] as number;
      continue;
    }
    // A return that nothing explains: the last choice was wrong.
    const last = stack.pop();
    if (last === undefined) return best;
    const id = events[last.at]?.id as number;
    relink(returnOf.get(id) as number);
    relink(last.at);
    if (operations[id]?.returnedAt !== Infinity) mustReturn++;
    done &= ~(1n << BigInt(id));
    state = last.state;
    at = next[last.at] as number;
  }
  return undefined;
}

/** The state after it, or undefined when its result does not fit. */
function apply({ kind, value, expected, result, returnedAt }: Operation, state: string): string | undefined {
  switch (kind) {
    case 'put':
      return value;
    case 'get':
      return result === state ? state : undefined;
    case 'cas':
      if (returnedAt !== Infinity && result !== state) return undefined;
      return state === expected ? value : state;
  }
}

/**
 * Leaves out what has no say: reads without answer, and writes without answer whose value nobody found, nor another write
 * that is in on top of it.
 */
function prune(history: readonly Operation[]): readonly Operation[] {
  const kept = new Set(history.filter(({ returnedAt }) => returnedAt !== Infinity));
  const found = new Set([...kept].map(({ result }) => result));
  const open = history.filter((operation) => !kept.has(operation) && operation.kind !== 'get');
  for (let before = -1; before !== kept.size;) {
    before = kept.size;
    for (const operation of open) {
      if (kept.has(operation) || !found.has(operation.value)) continue;
      kept.add(operation);
      found.add(operation.expected);
    }
  }
  return history.filter((operation) => kept.has(operation));
}
