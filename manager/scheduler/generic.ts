import type { GenericResource, Node } from '../../proto/types/index.ts';

/** What a node has of its own kinds of resources, and what of that is set aside. */
export class GenericStock {
  /** So many are set aside, by kind. */
  readonly #counts = new Map<string, number>();
  /** So many tasks hold a name, by "kind/name": two for a moment, when one takes over what the other is leaving. */
  readonly #names = new Map<string, number>();

  copy(): GenericStock {
    const copy = new GenericStock();
    for (const [kind, count] of this.#counts) copy.#counts.set(kind, count);
    for (const [key, count] of this.#names) copy.#names.set(key, count);
    return copy;
  }

  /** Counts what a task holds (1) or takes it back (-1). */
  count(held: readonly GenericResource[], sign: 1 | -1): void {
    for (const { kind, count, names } of held) {
      this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + sign * count);
      for (const name of names) this.#names.set(`${kind}/${name}`, (this.#names.get(`${kind}/${name}`) ?? 0) + sign);
    }
  }

  /**
   * What of a node would be set aside for a wish: by name where the node has names.
   * @returns undefined when it has not enough left, or not those that are asked for
   */
  assign(wish: GenericResource, node: Node): GenericResource | undefined {
    const has = (node.description.resources.generic ?? []).find(({ kind }) => kind === wish.kind);
    if (has === undefined) return undefined;
    if (has.names.length === 0) {
      const left = has.count - (this.#counts.get(wish.kind) ?? 0);
      return wish.names.length === 0 && left >= wish.count ? wish : undefined;
    }
    const free = has.names.filter((name) => (this.#names.get(`${wish.kind}/${name}`) ?? 0) === 0);
    const names = wish.names.length > 0 ? wish.names : free.slice(0, wish.count);
    const isEnough = names.length >= wish.count && names.every((name) => free.includes(name));
    return isEnough ? { kind: wish.kind, count: names.length, names } : undefined;
  }
}

/** Whether a node has any of a kind, whatever is left of it. */
export const hasKind = (kind: string, node: Node): boolean =>
  (node.description.resources.generic ?? []).some((resource) => resource.kind === kind && resource.count > 0);
