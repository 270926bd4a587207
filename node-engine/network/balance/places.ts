/**
 * The wanted ones, each at the place that it had; the place of one that is gone is taken by one that comes, or by the last one. So one that comes
 * or goes changes one place or two. The very array of before where nothing changes. Pure.
 */
export function keepPlaces(before: readonly string[], wanted: readonly string[]): readonly string[] {
  const left = new Set(wanted);
  const next: (string | undefined)[] = before.map((endpoint) => (left.delete(endpoint) ? endpoint : undefined));
  let isSame = next.every((endpoint) => endpoint !== undefined);
  for (let index = 0; index < next.length && left.size > 0; index++) {
    if (next[index] === undefined) next[index] = first(left);
  }
  for (const endpoint of left) {
    next.push(endpoint);
    isSame = false;
  }
  if (isSame) return before;
  for (let index = 0; index < next.length; index++) {
    while (next.length > 0 && next.at(-1) === undefined) next.pop();
    if (index < next.length && next[index] === undefined) next[index] = next.pop();
  }
  return next as string[];
}

function first(set: Set<string>): string | undefined {
  for (const value of set) {
    set.delete(value);
    return value;
  }
  return undefined;
}
