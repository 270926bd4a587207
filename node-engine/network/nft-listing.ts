/** What nft(8) lists as JSON (libnftables-json(5)), as far as it concerns our packets. Pure. */
import type { ForwardDrop } from '../types.ts';

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}
interface Rule {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly expr?: readonly Expression[];
}
type Expression = Readonly<Record<string, unknown>>;

const entries = (listing: unknown, kind: string): readonly unknown[] => {
  const list = (listing as { readonly nftables?: unknown } | null)?.nftables;
  if (!Array.isArray(list)) return [];
  return list.flatMap((entry: Readonly<Record<string, unknown>>) => (kind in entry ? [entry[kind]] : []));
};

/** Members of the one set in a listing; undefined: there is none. */
export function setMembers(listing: unknown): readonly string[] | undefined {
  const [set] = entries(listing, 'set') as readonly ({ readonly elem?: readonly unknown[] } | undefined)[];
  return set === undefined ? undefined : (set.elem ?? []).map(String);
}

/**
 * Chains of others that stop what containers send or get from other machines: those that forwarded packets pass, whose policy or last
 * rule drops, without a rule that lets the bridges of networks through. What comes in by published ports counts as let through where
 * translated connections are.
 * @param own name of our own tables
 */
export function forwardDrops(listing: unknown, own: string): readonly ForwardDrop[] {
  const chains = entries(listing, 'chain') as readonly Chain[];
  const rules = entries(listing, 'rule') as readonly Rule[];
  return chains.flatMap(({ family, table, name, hook, policy }) => {
    if (hook !== 'forward' || table === own || (family !== 'ip' && family !== 'inet')) return [];
    const mine = rules.filter((rule) => rule.family === family && rule.table === table && rule.chain === name);
    if (policy !== 'drop' && !isLastWord(mine.at(-1))) return [];
    const accepts = (fits: (expression: Expression) => boolean): boolean =>
      mine.some(({ expr = [] }) => expr.some(fits) && expr.some((one) => 'accept' in one));
    const out = accepts((one) => matches(one, 'iifname'));
    const into = accepts((one) => matches(one, 'oifname') || isTranslated(one));
    return out && into ? [] : [{ chain: `${family} ${table} ${name}`, out: !out, into: !into }];
  });
}

/** A drop or reject of all that comes so far. */
const isLastWord = (rule: Rule | undefined): boolean =>
  rule?.expr !== undefined &&
  rule.expr.every((one) => !('match' in one) && !('jump' in one) && !('goto' in one) && !('xt' in one)) &&
  rule.expr.some((one) => 'drop' in one || 'reject' in one);

/** "-i ts-+", which our interfaces' names begin with. */
function matches({ match }: Expression, key: 'iifname' | 'oifname'): boolean {
  const { op, left, right } = (match ?? {}) as {
    readonly op?: string;
    readonly left?: { readonly meta?: { readonly key?: string } };
    readonly right?: unknown;
  };
  return op === '==' && left?.meta?.key === key && typeof right === 'string' && /^ts-?\*$/.test(right);
}

function isTranslated({ match }: Expression): boolean {
  const { left, right } = (match ?? {}) as {
    readonly left?: { readonly ct?: { readonly key?: string } };
    readonly right?: unknown;
  };
  return left?.ct?.key === 'status' && JSON.stringify(right ?? '').includes('dnat');
}
