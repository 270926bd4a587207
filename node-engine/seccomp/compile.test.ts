import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import { DEFAULT_CAPABILITIES } from '../runtime/capabilities.ts';
import { compileProfile } from './compile.ts';
import { DEFAULT_PROFILE } from './default-profile.ts';
import { parseProfile } from './parse-profile.ts';
import type { Action, ArgumentRule, Circumstances, SeccompProfile, SyscallRule } from './profile.ts';
import { syscallTable } from './syscall-table.ts';

const ALLOW = 0x7fff_0000;
const EPERM = 0x0005_0001;
const ENOSYS = 0x0005_0026;
const KILL_PROCESS = 0x8000_0000;
const X86_64 = 0xc000_003e;
const AARCH64 = 0xc000_00b7;

/** What the kernel does with a program, straight from net/core/filter.c's description of each code. */
function run(program: Buffer, auditArch: number, number: number, args: readonly bigint[] = []): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number, 0);
  data.writeUInt32LE(auditArch, 4);
  args.forEach((value, index) => data.writeBigUInt64LE(value, 16 + 8 * index));
  let accumulator = 0;
  for (let at = 0, steps = 0; ; steps++) {
    ok(at * 8 < program.length, 'ran off the end');
    ok(steps < 4096, 'too many steps');
    const code = program.readUInt16LE(at * 8);
    const ifTrue = program.readUInt8(at * 8 + 2);
    const ifFalse = program.readUInt8(at * 8 + 3);
    const k = program.readUInt32LE(at * 8 + 4);
    const jump = (truth: boolean): number => at + 1 + (truth ? ifTrue : ifFalse);
    if (code === 0x06) return k;
    else if (code === 0x20) accumulator = data.readUInt32LE(k);
    else if (code === 0x54) accumulator = (accumulator & k) >>> 0;
    if (code === 0x20 || code === 0x54) at++;
    else if (code === 0x05) at += 1 + k;
    else if (code === 0x15) at = jump(accumulator === k);
    else if (code === 0x25) at = jump(accumulator > k);
    else if (code === 0x35) at = jump(accumulator >= k);
    else throw new Error(`code ${code.toString(16)} at ${at}`);
  }
}

function at(capabilities: readonly string[], architecture = 'amd64', major = 6): Circumstances {
  return { architecture, kernel: { major, minor: 1 }, capabilities: new Set(capabilities) };
}

const number = (name: string, architecture = 'amd64'): number => {
  const found = syscallTable(architecture).numbers.get(name);
  ok(found !== undefined, name);
  return found;
};

const program = compileProfile(DEFAULT_PROFILE, at(DEFAULT_CAPABILITIES));
const call = (name: string, ...args: bigint[]): number => run(program, X86_64, number(name), args);

describe("the seccomp program of Docker's default profile", () => {
  const cases: readonly [name: string, args: readonly bigint[], expected: number][] = [
    ['read', [], ALLOW],
    ['execve', [], ALLOW],
    ['chroot', [], ALLOW],
    ['ptrace', [], ALLOW],
    ['arch_prctl', [], ALLOW],
    ['setxattrat', [], ALLOW],
    ['mount', [], EPERM],
    ['umount2', [], EPERM],
    ['unshare', [], EPERM],
    ['setns', [], EPERM],
    ['keyctl', [], EPERM],
    ['add_key', [], EPERM],
    ['bpf', [], EPERM],
    ['reboot', [], EPERM],
    ['kexec_load', [], EPERM],
    ['userfaultfd', [], EPERM],
    ['io_uring_setup', [], EPERM],
    ['open_by_handle_at', [], EPERM],
    ['iopl', [], EPERM],
    ['clone3', [], ENOSYS],
    ['clone', [0x11n], ALLOW],
    ['clone', [0x3d0f00n], ALLOW],
    ['clone', [0x1000_0011n], EPERM],
    ['clone', [0x0002_0000n], EPERM],
    ['clone', [0x4000_0000n], EPERM],
    ['personality', [0x0n], ALLOW],
    ['personality', [0x8n], ALLOW],
    ['personality', [0x2_0000n], ALLOW],
    ['personality', [0x2_0008n], ALLOW],
    ['personality', [0xffff_ffffn], ALLOW],
    ['personality', [0x4_0000n], EPERM],
    ['personality', [0x1_0000_0000n], EPERM],
    ['socket', [2n], ALLOW],
    ['socket', [40n], EPERM],
    ['socket', [0x1_0000_0028n], EPERM],
  ];
  for (const [name, args, expected] of cases) {
    it(`answers ${name}(${args.map((value) => `0x${value.toString(16)}`).join()})`, () =>
      equal(call(name, ...args).toString(16), expected.toString(16)));
  }

  it('opens calls with the capabilities they belong to', () => {
    for (const [capability, name] of [
      ['CAP_SYS_ADMIN', 'mount'],
      ['CAP_SYS_ADMIN', 'clone3'],
      ['CAP_SYS_MODULE', 'init_module'],
      ['CAP_SYS_TIME', 'clock_settime'],
      ['CAP_SYS_BOOT', 'reboot'],
      ['CAP_SYS_NICE', 'mbind'],
      ['CAP_SYSLOG', 'syslog'],
      ['CAP_DAC_READ_SEARCH', 'open_by_handle_at'],
      ['CAP_SYS_RAWIO', 'iopl'],
      ['CAP_SYS_PACCT', 'acct'],
      ['CAP_SYS_TTY_CONFIG', 'vhangup'],
      ['CAP_SYS_PTRACE', 'kcmp'],
      ['CAP_BPF', 'bpf'],
      ['CAP_PERFMON', 'perf_event_open'],
    ] as const) {
      const withIt = compileProfile(DEFAULT_PROFILE, at([...DEFAULT_CAPABILITIES, capability]));
      equal(run(withIt, X86_64, number(name)), ALLOW, `${name} with ${capability}`);
      ok(run(program, X86_64, number(name)) !== ALLOW, `${name} without ${capability}`);
    }
    const admin = compileProfile(DEFAULT_PROFILE, at(['CAP_SYS_ADMIN']));
    equal(run(admin, X86_64, number('clone'), [0x1000_0011n]), ALLOW);
    equal(run(admin, X86_64, number('chroot')), EPERM);
  });

  it('lets nothing be traced on a kernel before 4.8', () => {
    equal(run(compileProfile(DEFAULT_PROFILE, at([], 'amd64', 4)), X86_64, number('ptrace')), EPERM);
  });

  it('answers numbers that nobody knows', () => {
    equal(run(program, X86_64, syscallTable('amd64').newest + 1), ENOSYS);
    equal(run(program, X86_64, 0x3fff_ffff), ENOSYS);
    equal(run(program, X86_64, 400), EPERM);
    equal(run(program, X86_64, 0x4000_0000), EPERM);
    equal(run(program, X86_64, 0xffff_ffff), EPERM);
  });

  it('kills a process that calls by another architecture', () => {
    equal(run(program, 0x4000_0003, number('read')), KILL_PROCESS);
    equal(run(program, AARCH64, 0), KILL_PROCESS);
  });

  it('serves 64-bit Arm by its own numbers', () => {
    const arm = compileProfile(DEFAULT_PROFILE, at(DEFAULT_CAPABILITIES, 'arm64'));
    equal(run(arm, AARCH64, number('openat', 'arm64')), ALLOW);
    equal(run(arm, AARCH64, number('mount', 'arm64')), EPERM);
    equal(run(arm, AARCH64, number('clone', 'arm64'), [0x11n]), ALLOW);
    equal(run(arm, AARCH64, number('clone', 'arm64'), [0x1000_0000n]), EPERM);
    equal(run(arm, AARCH64, 0x4000_0000), ENOSYS);
    equal(run(arm, X86_64, 0), KILL_PROCESS);
  });

  it('names only calls that one of the architectures has', () => {
    const known = new Set(['amd64', 'arm64'].flatMap((name) => [...syscallTable(name).numbers.keys()]));
    deepEqual(
      DEFAULT_PROFILE.rules.flatMap(({ names }) => names.filter((name) => !known.has(name))),
      [],
    );
  });

  it('refuses an architecture without a table', () => {
    throws(() => compileProfile(DEFAULT_PROFILE, at([], 'mips')), { code: 'NOT_SUPPORTED' });
  });
});

describe('the seccomp compiler', () => {
  /** The meaning of a profile without conditions, as plainly as it can be written. */
  function meaning(profile: SeccompProfile, name: string, args: readonly bigint[]): Action {
    const rules = profile.rules.filter((rule) => rule.names.includes(name));
    const met = rules.find(
      (rule) => rule.args.length > 0 && rule.args.every((one) => holds(one, args[one.index] ?? 0n)),
    );
    return (met ?? rules.find((rule) => rule.args.length === 0))?.action ?? profile.defaultAction;
  }

  function holds({ operator, value, valueTwo }: ArgumentRule, given: bigint): boolean {
    switch (operator) {
      case 'eq':
        return given === value;
      case 'ne':
        return given !== value;
      case 'lt':
        return given < value;
      case 'le':
        return given <= value;
      case 'gt':
        return given > value;
      case 'ge':
        return given >= value;
      case 'masked-eq':
        return (given & value) === valueTwo;
    }
  }

  const data = (action: Action): number => (action.kind === 'errno' ? 0x0005_0000 + action.data : ALLOW);
  const EDGES = [0n, 1n, 7n, 0xffff_ffffn, 0x1_0000_0000n, 0x1_0000_0007n, 0x7_0000_0000n, 0xffff_ffff_ffff_ffffn];
  const OPERATORS = ['eq', 'ne', 'lt', 'le', 'gt', 'ge', 'masked-eq'] as const;

  it('compares 64-bit arguments at every edge', () => {
    for (const operator of OPERATORS) {
      for (const value of EDGES) {
        for (const valueTwo of operator === 'masked-eq' ? EDGES : [0n]) {
          const profile = profileOf([{ names: ['read'], args: [{ index: 5, operator, value, valueTwo }] }]);
          const compiled = compileProfile(profile, at([]));
          for (const given of EDGES) {
            const args = [0n, 0n, 0n, 0n, 0n, given];
            equal(
              run(compiled, X86_64, 0, args),
              data(meaning(profile, 'read', args)),
              `${given} ${operator} ${value} ${valueTwo}`,
            );
          }
        }
      }
    }
  });

  it('means what the rules say, over programs too long for short jumps', () => {
    // A generator of our own, so that a failure comes again.
    let state = 12345;
    const below = (limit: number): number => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % limit;
    };
    const names = [...syscallTable('amd64').numbers.keys()];
    for (let round = 0; round < 5; round++) {
      const profile = profileOf(
        Array.from({ length: 150 }, () => ({
          names: Array.from({ length: 1 + below(3) }, () => names[below(names.length)] ?? 'read'),
          action: below(2) === 0 ? ({ kind: 'allow' } as const) : ({ kind: 'errno', data: below(4) } as const),
          args: Array.from({ length: below(3) }, (_, index) => ({
            index,
            operator: OPERATORS[below(7)] ?? 'eq',
            value: EDGES[below(8)] ?? 0n,
            valueTwo: EDGES[below(8)] ?? 0n,
          })),
        })),
      );
      const compiled = compileProfile(profile, at([]));
      ok(compiled.length / 8 > 600, 'no long jump was needed');
      for (const name of names) {
        for (let trial = 0; trial < 4; trial++) {
          const args = [EDGES[below(8)] ?? 0n, EDGES[below(8)] ?? 0n];
          equal(
            run(compiled, X86_64, number(name), args),
            data(meaning(profile, name, args)),
            `${name} ${args.join()}`,
          );
        }
      }
    }
  });

  it('gives every action its value', () => {
    const values = { ALLOW, LOG: 0x7ffc_0000, TRAP: 0x0003_0000, KILL: 0, KILL_THREAD: 0, KILL_PROCESS };
    for (const [name, value] of Object.entries(values)) {
      const text = JSON.stringify({
        defaultAction: 'SCMP_ACT_ERRNO',
        defaultErrnoRet: 7,
        syscalls: [{ names: ['read'], action: `SCMP_ACT_${name}` }],
      });
      const compiled = compileProfile(parseProfile(text, 'test'), at([]));
      equal(run(compiled, X86_64, 0), value, name);
      equal(run(compiled, X86_64, 1), 0x0005_0007);
    }
  });

  it('answers what is newer than its tables as the default does when that lets calls pass', () => {
    const compiled = compileProfile({ defaultAction: { kind: 'allow' }, rules: [] }, at([]));
    equal(run(compiled, X86_64, 100_000), ALLOW);
    equal(run(compiled, X86_64, 0x4000_0001), EPERM);
  });

  it('refuses a program that the kernel would', () => {
    const args = [{ index: 0, operator: 'ge', value: 1n << 40n, valueTwo: 0n }] as const;
    const rules = Array.from({ length: 1500 }, () => ({ names: ['read'], args }));
    throws(() => compileProfile(profileOf(rules), at([])), {
      code: 'INVALID_INPUT',
      message: /the kernel allows 4096/,
    });
  });
});

function profileOf(rules: readonly (Partial<SyscallRule> & { names: readonly string[] })[]): SeccompProfile {
  const none = { capabilities: [], architectures: [] };
  return {
    defaultAction: { kind: 'errno', data: 9 },
    rules: rules.map((rule) => ({ action: { kind: 'allow' }, args: [], includes: none, excludes: none, ...rule })),
  };
}
