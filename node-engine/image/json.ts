import { TsswarmError } from '../../base/errors.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** Parses JSON that must be an object. @param what names it in the message @throws CORRUPT */
export function parseJsonObject(bytes: Uint8Array | string, what: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(typeof bytes === 'string' ? bytes : Buffer.from(bytes).toString('utf8'));
  } catch (error) {
    throw new TsswarmError('CORRUPT', `reading ${what}: it is no JSON`, { cause: error });
  }
  if (!isObject(value)) throw new TsswarmError('CORRUPT', `reading ${what}: a JSON object was expected`);
  return value;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object at a key; {} when it is absent or anything else. */
export function objectAt(value: JsonObject, key: string): JsonObject {
  const found = value[key];
  return isObject(found) ? found : {};
}

/** The string at a key; "" when it is absent or anything else. */
export function stringAt(value: JsonObject, key: string): string {
  const found = value[key];
  return typeof found === 'string' ? found : '';
}

/** The number at a key; 0 when it is absent or anything else. */
export function numberAt(value: JsonObject, key: string): number {
  const found = value[key];
  return typeof found === 'number' && Number.isFinite(found) ? found : 0;
}

/** The strings of the list at a key; [] when it is absent or anything else. */
export function stringsAt(value: JsonObject, key: string): readonly string[] {
  const found = value[key];
  return Array.isArray(found) ? found.filter((item) => typeof item === 'string') : [];
}

/** The objects of the list at a key. */
export function objectsAt(value: JsonObject, key: string): readonly JsonObject[] {
  const found = value[key];
  return Array.isArray(found) ? found.filter(isObject) : [];
}

/** The string values of the object at a key. */
export function stringMapAt(value: JsonObject, key: string): Readonly<Record<string, string>> {
  const pairs = Object.entries(objectAt(value, key));
  return Object.fromEntries(pairs.filter((pair): pair is [string, string] => typeof pair[1] === 'string'));
}
