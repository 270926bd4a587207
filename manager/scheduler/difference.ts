/**
 * What became of a list whose objects are never changed in place and whose new ones come last: one walk along both, no
 * matter how long they are. A list in another order costs more and gives the same.
 */
export function eachDifference<T extends { readonly id: string }>(
  before: readonly T[],
  after: readonly T[],
  put: (object: T) => void,
  remove: (id: string) => void,
): void {
  const missing = new Map<string, T>();
  let next = 0;
  for (const old of before) {
    const now = after[next];
    if (now === old) {
      next++;
    } else if (now?.id === old.id) {
      put(now);
      next++;
    } else {
      missing.set(old.id, old);
    }
  }
  for (const object of after.slice(next)) {
    if (missing.get(object.id) !== object) put(object);
    missing.delete(object.id);
  }
  for (const id of missing.keys()) remove(id);
}
