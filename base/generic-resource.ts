/** A kind of resource as a node or a wish names it: letters, digits, "_", "." and "-". */
export const GENERIC_KIND = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

/** So many of a kind, or named ones. */
export interface NodeResource {
  readonly kind: string;
  readonly count: number;
  readonly names: readonly string[];
}

/**
 * What a node has beside CPUs and memory, as its flags say it: "gpu=2" so many, "gpu=UUID1,UUID2" named ones; named ones may also be
 * given one by one (dockerd, node-generic-resources).
 * @returns the resources, or what is wrong: the text and why
 */
export function parseGenericResources(given: readonly string[]): readonly NodeResource[] | readonly [string, string] {
  const found = new Map<string, NodeResource>();
  for (const text of given) {
    const split = text.indexOf('=');
    const [kind, value] = split < 0 ? [text, ''] : [text.slice(0, split), text.slice(split + 1)];
    if (!GENERIC_KIND.test(kind) || value === '') return [text, 'expected <kind>=<number> or <kind>=<name>[,<name>…]'];
    const known = found.get(kind);
    if (/^\d+$/.test(value)) {
      if (known !== undefined) return [text, `"${kind}" is given already`];
      if (Number(value) < 1) return [text, 'expected 1 or more'];
      found.set(kind, { kind, count: Number(value), names: [] });
      continue;
    }
    if (known?.names.length === 0) return [text, `"${kind}" is given already, by number`];
    const names = [...(known?.names ?? []), ...value.split(',')];
    if (names.includes('')) return [text, 'a name is empty'];
    const twice = names.find((name, index) => names.indexOf(name) < index);
    if (twice !== undefined) return [text, `"${twice}" is there twice`];
    found.set(kind, { kind, count: names.length, names });
  }
  return [...found.values()];
}
