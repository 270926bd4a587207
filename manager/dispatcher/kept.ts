/** `after` with the objects of `before` where they say the same; `before` itself where all do. */
export function kept<T>(before: readonly T[], after: readonly T[], key: (item: T) => string): readonly T[] {
  if (before.length === after.length && after.every((item, index) => item === before[index])) return before;
  const known = new Map(before.map((item) => [key(item), item]));
  const result = after.map((item) => {
    const old = known.get(key(item));
    if (old === undefined || old === item) return item;
    return JSON.stringify(old) === JSON.stringify(item) ? old : item;
  });
  return result.length === before.length && result.every((item, index) => item === before[index]) ? before : result;
}
