/**
 * Repository and tag of a fully qualified name, as people read it: Docker Hub's host and "library/" left out. A name by
 * digest has the tag "<none>".
 */
export function splitReference(name: string): readonly [repository: string, tag: string] {
  const [bare = '', digest] = name.split('@');
  const colon = bare.lastIndexOf(':');
  const hasTag = colon > bare.lastIndexOf('/');
  const repository = (hasTag ? bare.slice(0, colon) : bare).replace(/^docker\.io\/(library\/)?/, '');
  const tag = hasTag ? bare.slice(colon + 1) : digest === undefined ? 'latest' : '<none>';
  return [repository, tag];
}
