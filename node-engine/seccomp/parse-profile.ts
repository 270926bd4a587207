import { TsswarmError, messageOf } from '../../base/errors.ts';
import { forbids } from './compile.ts';
import type { Action, ArgumentRule, Condition, Operator, SeccompProfile, SyscallRule } from './profile.ts';
import { parseKernelVersion } from './profile.ts';
import { syscallTable } from './syscall-table.ts';

const EPERM = 1;
const MAX_DATA = 0xffff;
const OPERATORS: Readonly<Record<string, Operator>> = {
  SCMP_CMP_EQ: 'eq',
  SCMP_CMP_NE: 'ne',
  SCMP_CMP_LT: 'lt',
  SCMP_CMP_LE: 'le',
  SCMP_CMP_GT: 'gt',
  SCMP_CMP_GE: 'ge',
  SCMP_CMP_MASKED_EQ: 'masked-eq',
};
const SIMPLE_ACTIONS: Readonly<Record<string, Action>> = {
  SCMP_ACT_ALLOW: { kind: 'allow' },
  SCMP_ACT_LOG: { kind: 'log' },
  SCMP_ACT_TRAP: { kind: 'trap' },
  SCMP_ACT_KILL: { kind: 'kill-thread' },
  SCMP_ACT_KILL_THREAD: { kind: 'kill-thread' },
  SCMP_ACT_KILL_PROCESS: { kind: 'kill-process' },
};
/** Calls of architectures that we have no table for; a rule about one changes nothing here. */
const FOREIGN =
  /^(_llseek|_newselect|arm_\w+|s390_\w+|riscv_\w+|ppc_\w+|spu_\w+|\w*(16|32|_time64|64)|breakpoint|cacheflush|get_tls|set_tls|ipc|nice|oldwait4|recv|send|sgetmask|ssetmask|sigaction|signal|sigpending|sigprocmask|sigreturn|sigsuspend|socketcall|stime|subpage_prot|swapcontext|switch_endian|sync_file_range2|sys_debug_setcontext|ugetrlimit|umount|usr26|usr32|vm86|vm86old|waitpid|atomic_\w+|bdflush|break|ftime|getpagesize|gtty|idle|lock|mpx|olduname|oldolduname|oldstat|oldfstat|oldlstat|pciconfig_\w+|prof|profil|readdir|rtas|stty|sysmips|timerfd|ulimit|multiplexer|cachectl|memory_ordering|kern_features|utrap_install)$/;

type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads a profile in Docker's JSON format. Every field is either honoured or refused. A rule with two conditions on the same
 * argument stands for one rule per condition, as in Docker.
 * @param source path, for messages
 * @throws INVALID_INPUT for what is malformed or unknown, NOT_SUPPORTED for what needs an agent (SCMP_ACT_NOTIFY) or flags
 */
export function parseProfile(text: string, source: string): SeccompProfile {
  return new Reader(source).profile(text);
}

class Reader {
  readonly #source: string;

  constructor(source: string) {
    this.#source = source;
  }

  profile(text: string): SeccompProfile {
    let value: unknown;
    try {
      // Masks may have 64 bits, more than a number holds.
      value = JSON.parse(text, (key, item: unknown, context?: { source?: string }) =>
        (key === 'value' || key === 'valueTwo') && context?.source !== undefined && /^\d+$/.test(context.source)
          ? BigInt(context.source)
          : item,
      );
    } catch (cause) {
      throw this.#invalid(`not JSON: ${messageOf(cause)}`, cause);
    }
    const root = this.#fields(value, 'the profile', [
      'defaultAction',
      'defaultErrnoRet',
      'defaultErrno',
      'archMap',
      'architectures',
      'syscalls',
      'flags',
      'listenerPath',
      'listenerMetadata',
    ]);
    for (const name of ['flags', 'listenerPath', 'listenerMetadata']) {
      const given = root[name];
      if (given !== undefined && given !== null && given !== '' && !(Array.isArray(given) && given.length === 0)) {
        throw this.#unsupported(`"${name}" is set`, 'remove it');
      }
    }
    this.#architectures(root);
    const defaultAction = this.#action(root['defaultAction'], root['defaultErrnoRet'], 'defaultAction');
    this.#errnoName(root['defaultErrno'], root['defaultErrnoRet'], 'defaultErrno');
    return {
      defaultAction,
      rules: this.#list(root['syscalls'], 'syscalls').flatMap((item, index) =>
        this.#rules(item, `syscalls[${index}]`, defaultAction),
      ),
    };
  }

  /** We compile for the node's own architecture, whatever is listed; the names are checked for what they are. */
  #architectures(root: Fields): void {
    const check = (name: unknown, where: string): void => {
      if (typeof name !== 'string' || !/^SCMP_ARCH_[A-Z0-9_]+$/.test(name)) {
        throw this.#invalid(`${where} is ${print(name)}, expected a name such as "SCMP_ARCH_X86_64"`);
      }
    };
    this.#list(root['architectures'], 'architectures').forEach((name, i) => check(name, `architectures[${i}]`));
    this.#list(root['archMap'], 'archMap').forEach((item, i) => {
      const where = `archMap[${i}]`;
      const { architecture, subArchitectures } = this.#fields(item, where, ['architecture', 'subArchitectures']);
      check(architecture, `${where}.architecture`);
      this.#list(subArchitectures, `${where}.subArchitectures`).forEach((name, j) =>
        check(name, `${where}.subArchitectures[${j}]`),
      );
    });
  }

  #rules(item: unknown, where: string, defaultAction: Action): readonly SyscallRule[] {
    const fields = this.#fields(item, where, [
      'names',
      'name',
      'action',
      'errnoRet',
      'errno',
      'args',
      'comment',
      'includes',
      'excludes',
    ]);
    const single = fields['name'];
    if (single !== undefined && fields['names'] !== undefined) {
      throw this.#invalid(`${where} has "name" and "names", expected one of them`);
    }
    const names =
      single === undefined ? this.#strings(fields['names'], `${where}.names`) : this.#strings([single], where);
    if (names.length === 0) throw this.#invalid(`${where} names no system call`);
    const action = this.#action(fields['action'], fields['errnoRet'], `${where}.action`);
    this.#errnoName(fields['errno'], fields['errnoRet'], `${where}.errno`);
    this.#checkNames(names, where, action, defaultAction);
    const rule = {
      names,
      action,
      includes: this.#condition(fields['includes'], `${where}.includes`),
      excludes: this.#condition(fields['excludes'], `${where}.excludes`),
    };
    const args = this.#list(fields['args'], `${where}.args`).map((one, i) =>
      this.#argument(one, `${where}.args[${i}]`),
    );
    const alternatives = new Set(args.map(({ index }) => index)).size < args.length;
    return alternatives ? args.map((one) => ({ ...rule, args: [one] })) : [{ ...rule, args }];
  }

  /** A name without a number may only be ignored where ignoring it lets nothing happen that the rule would forbid. */
  #checkNames(names: readonly string[], where: string, action: Action, defaultAction: Action): void {
    if (!forbids(action) || forbids(defaultAction)) return;
    const known = (name: string): boolean =>
      syscallTable('amd64').numbers.has(name) || syscallTable('arm64').numbers.has(name) || FOREIGN.test(name);
    const unknown = names.find((name) => !known(name));
    if (unknown !== undefined)
      throw this.#invalid(`${where} forbids "${unknown}", which is no system call that we know`);
  }

  #argument(item: unknown, where: string): ArgumentRule {
    const fields = this.#fields(item, where, ['index', 'value', 'valueTwo', 'op']);
    const index = fields['index'];
    if (typeof index !== 'number' || !Number.isInteger(index) || index < 0 || index > 5) {
      throw this.#invalid(`${where}.index is ${print(index)}, expected 0 to 5`);
    }
    const operator = typeof fields['op'] === 'string' ? OPERATORS[fields['op']] : undefined;
    if (operator === undefined) {
      throw this.#invalid(
        `${where}.op is ${print(fields['op'])}, expected one of ${Object.keys(OPERATORS).join(', ')}`,
      );
    }
    return {
      index,
      operator,
      value: this.#word(fields['value'], `${where}.value`),
      valueTwo: this.#word(fields['valueTwo'] ?? 0n, `${where}.valueTwo`),
    };
  }

  #word(value: unknown, where: string): bigint {
    if (typeof value === 'bigint' && value < 1n << 64n) return value;
    throw this.#invalid(`${where} is ${print(value)}, expected a whole number from 0 to 18446744073709551615`);
  }

  #condition(item: unknown, where: string): Condition {
    const fields = this.#fields(item ?? {}, where, ['caps', 'arches', 'minKernel']);
    const minKernel = fields['minKernel'];
    const base = {
      capabilities: this.#strings(fields['caps'], `${where}.caps`),
      architectures: this.#strings(fields['arches'], `${where}.arches`),
    };
    if (minKernel === undefined || minKernel === null || minKernel === '') return base;
    const version = typeof minKernel === 'string' ? parseKernelVersion(minKernel) : undefined;
    if (!version) throw this.#invalid(`${where}.minKernel is ${print(minKernel)}, expected a version such as "4.8"`);
    return { ...base, minKernel: version };
  }

  #action(name: unknown, data: unknown, where: string): Action {
    const simple = typeof name === 'string' ? SIMPLE_ACTIONS[name] : undefined;
    if (simple) return simple;
    if (name === 'SCMP_ACT_ERRNO' || name === 'SCMP_ACT_TRACE') {
      const number = data ?? EPERM;
      if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > MAX_DATA) {
        throw this.#invalid(`the error number of ${where} is ${print(number)}, expected 0 to ${MAX_DATA}`);
      }
      return { kind: name === 'SCMP_ACT_ERRNO' ? 'errno' : 'trace', data: number };
    }
    if (name === 'SCMP_ACT_NOTIFY') {
      throw this.#unsupported(`${where} is SCMP_ACT_NOTIFY`, 'no agent can answer for a call; use another action');
    }
    throw this.#invalid(
      `${where} is ${print(name)}, expected SCMP_ACT_ERRNO, SCMP_ACT_TRACE or one of ${Object.keys(SIMPLE_ACTIONS).join(', ')}`,
    );
  }

  /** Podman's names beside the numbers; on their own they would have to be looked up. */
  #errnoName(name: unknown, number: unknown, where: string): void {
    if (name !== undefined && name !== '' && typeof number !== 'number') {
      throw this.#unsupported(`${where} is ${print(name)} without a number`, 'write the number too, as errnoRet');
    }
  }

  #fields(value: unknown, where: string, allowed: readonly string[]): Fields {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.#invalid(`${where} is ${print(value)}, expected an object`);
    }
    const unknown = Object.keys(value).find((key) => !allowed.includes(key));
    if (unknown !== undefined) {
      throw this.#invalid(`${where} has the unknown field "${unknown}", expected ${allowed.join(', ')}`);
    }
    return value as Fields;
  }

  #list(value: unknown, where: string): readonly unknown[] {
    if (value === undefined || value === null) return [];
    if (Array.isArray(value)) return value as readonly unknown[];
    throw this.#invalid(`${where} is ${print(value)}, expected a list`);
  }

  #strings(value: unknown, where: string): readonly string[] {
    return this.#list(value, where).map((item, index) => {
      if (typeof item === 'string' && item !== '') return item;
      throw this.#invalid(`${where}[${index}] is ${print(item)}, expected a name`);
    });
  }

  #invalid(what: string, cause?: unknown): TsswarmError {
    return new TsswarmError('INVALID_INPUT', `reading the seccomp profile "${this.#source}": ${what}`, { cause });
  }

  #unsupported(what: string, hint: string): TsswarmError {
    return new TsswarmError('NOT_SUPPORTED', `reading the seccomp profile "${this.#source}": ${what}`, { hint });
  }
}

function print(value: unknown): string {
  return typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? 'missing');
}
