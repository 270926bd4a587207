import { TsswarmError } from '../../base/errors.ts';
import type { Label } from './bpf.ts';
import { AND, Assembler, IF_AT_LEAST, IF_EQUAL, IF_GREATER, LOAD, MAX_INSTRUCTIONS } from './bpf.ts';
import type { Action, ArgumentRule, Circumstances, SeccompProfile, SyscallRule } from './profile.ts';
import { selectRules } from './profile.ts';
import type { SyscallTable } from './syscall-table.ts';
import { syscallTable } from './syscall-table.ts';

const EPERM = 1;
const ENOSYS = 38;
/** Where the numbers of x86-64's x32 calls begin: __X32_SYSCALL_BIT. */
const X32 = 0x4000_0000;

/** Offsets in `struct seccomp_data`; the words of an argument as a little-endian machine stores them. */
const NUMBER = 0;
const ARCHITECTURE = 4;
const lowWord = (index: number): number => 16 + index * 8;
const highWord = (index: number): number => lowWord(index) + 4;

/** The calls from `first` up to the next range, all with the same outcome. */
interface Range {
  readonly first: number;
  readonly rules: readonly SyscallRule[];
  readonly otherwise: Action;
}

/**
 * Compiles a profile to the bytes of a `struct sock_filter[]`.
 *
 * A call of a foreign architecture (a 32-bit program) kills its process and one of x32 fails with EPERM, whatever the
 * profile says. Above the newest number that we know a profile that forbids by default gives
 * ENOSYS, which is what programs that try new calls expect of an old kernel. The number is found by binary search over
 * ranges of calls with the same outcome. For one call, rules with conditions on arguments are tried in the profile's order
 * and then the first without; the default is last.
 * @throws NOT_SUPPORTED for an architecture without a table; INVALID_INPUT for a name that no rule may ignore or a profile
 *   that makes too long a program
 */
export function compileProfile(profile: SeccompProfile, circumstances: Circumstances): Buffer {
  const table = syscallTable(circumstances.architecture);
  const ranges = makeRanges(profile, selectRules(profile, circumstances), table);
  const assembler = new Assembler();
  const search = emitSearch(assembler, ranges);
  const accepted = assembler.then(LOAD, NUMBER, search);
  const foreign = assembler.return(returnValue({ kind: 'kill-process' }));
  const check = assembler.branch(IF_EQUAL, table.auditArch, accepted, foreign);
  assembler.then(LOAD, ARCHITECTURE, check);
  if (assembler.length > MAX_INSTRUCTIONS) {
    throw new TsswarmError(
      'INVALID_INPUT',
      `compiling the seccomp profile: it takes ${assembler.length} instructions, the kernel allows ${MAX_INSTRUCTIONS}`,
      { hint: 'use fewer rules with arguments' },
    );
  }
  return assembler.toBytes();
}

/** The value a filter returns for an action; SECCOMP_RET_* of include/uapi/linux/seccomp.h. */
export function returnValue(action: Action): number {
  switch (action.kind) {
    case 'kill-process':
      return 0x8000_0000;
    case 'kill-thread':
      return 0;
    case 'trap':
      return 0x0003_0000;
    case 'errno':
      return 0x0005_0000 + action.data;
    case 'trace':
      return 0x7ff0_0000 + action.data;
    case 'log':
      return 0x7ffc_0000;
    case 'allow':
      return 0x7fff_0000;
  }
}

function makeRanges(profile: SeccompProfile, rules: readonly SyscallRule[], table: SyscallTable): readonly Range[] {
  const perNumber = new Map<number, SyscallRule[]>();
  for (const rule of rules) {
    for (const name of rule.names) {
      const number = table.numbers.get(name);
      if (number === undefined) continue;
      const list = perNumber.get(number);
      if (list) list.push(rule);
      else perNumber.set(number, [rule]);
    }
  }
  const { defaultAction } = profile;
  const ranges: Range[] = [];
  const add = (range: Range): void => {
    const last = ranges.at(-1);
    const same = last && last.rules.length + range.rules.length === 0;
    if (!same || returnValue(last.otherwise) !== returnValue(range.otherwise)) ranges.push(range);
  };
  for (let number = 0; number <= table.newest; number++) {
    const own = perNumber.get(number) ?? [];
    const otherwise = own.find(({ args }) => args.length === 0)?.action ?? defaultAction;
    add({ first: number, rules: own.filter(({ args }) => args.length > 0), otherwise });
  }
  add({ first: table.newest + 1, rules: [], otherwise: forbids(defaultAction) ? errno(ENOSYS) : defaultAction });
  if (table.architecture === 'amd64') add({ first: X32, rules: [], otherwise: errno(EPERM) });
  return ranges;
}

const errno = (data: number): Action => ({ kind: 'errno', data });

/** Whether a call with this outcome does not happen. */
export function forbids(action: Action): boolean {
  return action.kind !== 'allow' && action.kind !== 'log' && action.kind !== 'trace';
}

function emitSearch(assembler: Assembler, ranges: readonly Range[]): Label {
  const [only] = ranges;
  if (only && ranges.length === 1) return emitRange(assembler, only);
  const middle = ranges.length >> 1;
  const upper = emitSearch(assembler, ranges.slice(middle));
  const lower = emitSearch(assembler, ranges.slice(0, middle));
  return assembler.branch(IF_AT_LEAST, ranges[middle]?.first ?? 0, upper, lower);
}

function emitRange(assembler: Assembler, range: Range): Label {
  let next = assembler.return(returnValue(range.otherwise));
  for (const rule of range.rules.toReversed()) {
    let met = assembler.return(returnValue(rule.action));
    for (const argument of rule.args.toReversed()) met = emitComparison(assembler, argument, met, next);
    next = met;
  }
  return next;
}

function emitComparison(assembler: Assembler, rule: ArgumentRule, met: Label, unmet: Label): Label {
  const { index, operator, value, valueTwo } = rule;
  const [high, low] = words(value);
  const whole = (code: number, ifTrue: Label, ifFalse: Label): Label => {
    const lower = assembler.then(LOAD, lowWord(index), assembler.branch(code, low, ifTrue, ifFalse));
    const equal = assembler.branch(IF_EQUAL, high, lower, ifFalse);
    const upper = code === IF_EQUAL ? equal : assembler.branch(IF_GREATER, high, ifTrue, equal);
    return assembler.then(LOAD, highWord(index), upper);
  };
  switch (operator) {
    case 'eq':
      return whole(IF_EQUAL, met, unmet);
    case 'ne':
      return whole(IF_EQUAL, unmet, met);
    case 'gt':
      return whole(IF_GREATER, met, unmet);
    case 'le':
      return whole(IF_GREATER, unmet, met);
    case 'ge':
      return whole(IF_AT_LEAST, met, unmet);
    case 'lt':
      return whole(IF_AT_LEAST, unmet, met);
    case 'masked-eq': {
      const [wantedHigh, wantedLow] = words(valueTwo);
      const masked = (offset: number, mask: number, wanted: number, next: Label): Label =>
        assembler.then(LOAD, offset, assembler.then(AND, mask, assembler.branch(IF_EQUAL, wanted, next, unmet)));
      return masked(highWord(index), high, wantedHigh, masked(lowWord(index), low, wantedLow, met));
    }
  }
}

function words(value: bigint): readonly [high: number, low: number] {
  return [Number(value >> 32n), Number(value & 0xffff_ffffn)];
}
