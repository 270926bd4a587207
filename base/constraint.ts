import { BlockList, isIP } from 'node:net';

/** A placement constraint, taken apart: "node.labels.disk == ssd". */
export interface Constraint {
  /** "node.id", "node.labels.disk": the words of the cluster in lower case, a label's own name as it was written. */
  readonly key: string;
  readonly operator: '==' | '!=';
  readonly value: string;
}

/** Swarm's alphabets for keys and values: what they leave out may become an operator one day (swarmkit, manager/constraint). */
const KEY = /^[a-z_][a-z0-9\-_.]+$/i;
const VALUE = /^[a-z0-9:\-_\s.*()?+[\]\\^$|/]+$/i;
const FIXED_KEYS = ['node.id', 'node.hostname', 'node.ip', 'node.role', 'node.platform.os', 'node.platform.arch'];
const LABEL_PREFIXES = ['node.labels.', 'engine.labels.'];

/**
 * Reads "key==value" or "key!=value".
 * @returns the constraint, or what is wrong with it, continuing "the constraint …"
 */
export function parseConstraint(text: string): Constraint | string {
  const operator = text.includes('==') ? '==' : text.includes('!=') ? '!=' : undefined;
  if (operator === undefined) return 'has no operator, expected == or !=';
  const at = text.indexOf(operator);
  const [key, value] = [text.slice(0, at).trim(), text.slice(at + operator.length).trim()];
  if (!KEY.test(key)) return `has the key "${key}", expected letters, digits, "-", "_" and "."`;
  if (!VALUE.test(value)) {
    return value === ''
      ? 'has no value'
      : `has the value "${value}", in which only letters, digits and .:-_/ are allowed`;
  }
  const known = knownKey(key);
  if (known === undefined) {
    return `has the key "${key}", expected ${FIXED_KEYS.join(', ')}, ${LABEL_PREFIXES.map((prefix) => `${prefix}<name>`).join(' or ')}`;
  }
  if (known === 'node.role' && !['manager', 'worker'].includes(value.toLowerCase()))
    return `has the role "${value}", expected manager or worker`;
  if (known === 'node.ip' && addressTest(value) === undefined)
    return `has the address "${value}", expected an IP address or a subnet such as 10.1.0.0/16`;
  return { key: known, operator, value };
}

/** The key as it is compared; undefined: no node can have it. */
function knownKey(key: string): string | undefined {
  const lower = key.toLowerCase();
  if (FIXED_KEYS.includes(lower)) return lower;
  const prefix = LABEL_PREFIXES.find((candidate) => lower.startsWith(candidate) && key.length > candidate.length);
  return prefix === undefined ? undefined : prefix + key.slice(prefix.length);
}

/** A test for addresses: equal to an address, or inside a subnet. Undefined: the text is neither. */
export function addressTest(text: string): ((address: string) => boolean) | undefined {
  const [address = '', prefix, ...more] = text.split('/');
  const family = isIP(address);
  if (family === 0 || more.length > 0) return undefined;
  const bits = family === 4 ? 32 : 128;
  if (prefix !== undefined && (!/^\d{1,3}$/.test(prefix) || Number(prefix) > bits)) return undefined;
  const list = new BlockList();
  const type = family === 4 ? 'ipv4' : 'ipv6';
  if (prefix === undefined) list.addAddress(address, type);
  else list.addSubnet(address, Number(prefix), type);
  return (other) => isIP(other) === family && list.check(other, type);
}

/** What tasks are spread over: the values of a label of the nodes, or of their engines. */
export interface SpreadLabel {
  readonly of: 'node' | 'engine';
  readonly label: string;
}

/**
 * Reads "node.labels.zone" or "engine.labels.rack".
 * @returns the label, or what is wrong, continuing "the preference …"
 */
export function parseSpread(text: string): SpreadLabel | string {
  const key = knownKey(text.trim());
  if (key === undefined || FIXED_KEYS.includes(key) || !KEY.test(key))
    return `spreads over "${text}", expected ${LABEL_PREFIXES.map((prefix) => `${prefix}<name>`).join(' or ')}`;
  const prefix = key.startsWith('node.') ? 'node.labels.' : 'engine.labels.';
  return { of: prefix === 'node.labels.' ? 'node' : 'engine', label: key.slice(prefix.length) };
}
