/** What Go's templates take for true: everything but false, 0, nothing, and what is empty. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Map) return value.size > 0;
  return Boolean(value);
}

/** A value as Go prints it: lists as [a b], maps and objects as map[k:v], nothing as <no value>. */
export function printed(value: unknown): string {
  if (value === undefined || value === null) return '<no value>';
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return `[${value.map(printed).join(' ')}]`;
  const entries = value instanceof Map ? [...(value as Map<string, unknown>)] : Object.entries(value);
  return `map[${entries
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, one]) => `${key}:${printed(one)}`)
    .join(' ')}]`;
}

/** JSON of what templates are filled with: maps are objects. */
export function jsonOf(value: unknown, indent?: number): string {
  const replace = (_: string, one: unknown): unknown =>
    one instanceof Map ? Object.fromEntries(one as Map<string, unknown>) : one;
  return JSON.stringify(value, replace, indent) ?? 'null';
}
