import { deepEqual, equal, match, rejects, throws } from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseProfile } from './parse-profile.ts';
import { parseKernelVersion, selectRules } from './profile.ts';
import { CompiledPrograms } from './programs.ts';

const parse = (value: unknown): ReturnType<typeof parseProfile> => parseProfile(JSON.stringify(value), '/p.json');
const one = (rule: object): object => ({ defaultAction: 'SCMP_ACT_ERRNO', syscalls: [rule] });

describe('seccomp profiles in JSON', () => {
  it('are read whole', () => {
    const text = `{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
      "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
      "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "comment": "x",
        "args": [{"index": 0, "value": 18446744073709551615, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}],
        "includes": {"caps": ["CAP_BPF"], "minKernel": "4.8"}, "excludes": {"arches": ["arm64"]}}]}`;
    deepEqual(parseProfile(text, '/p.json'), {
      defaultAction: { kind: 'errno', data: 38 },
      rules: [
        {
          names: ['clone'],
          action: { kind: 'allow' },
          args: [{ index: 0, operator: 'masked-eq', value: 0xffff_ffff_ffff_ffffn, valueTwo: 2n }],
          includes: { capabilities: ['CAP_BPF'], architectures: [], minKernel: { major: 4, minor: 8 } },
          excludes: { capabilities: [], architectures: ['arm64'] },
        },
      ],
    });
  });

  it('take two conditions on one argument as alternatives', () => {
    const args = [3, 4].map((value) => ({ index: 1, value, op: 'SCMP_CMP_EQ' }));
    const { rules } = parse(one({ names: ['read'], action: 'SCMP_ACT_ALLOW', args }));
    deepEqual(
      rules.map((rule) => rule.args.map(({ value }) => value)),
      [[3n], [4n]],
    );
  });

  const allow = { names: ['read'], action: 'SCMP_ACT_ALLOW' };
  const refusals: readonly [title: string, profile: unknown, code: string, message: RegExp][] = [
    ['a list', [], 'INVALID_INPUT', /the profile is \[\], expected an object/],
    ['a field that nobody knows', { defaultAction: 'SCMP_ACT_LOG', sycalls: [] }, 'INVALID_INPUT', /"sycalls"/],
    ['no default', { syscalls: [] }, 'INVALID_INPUT', /defaultAction is missing/],
    ['an unknown action', one({ ...allow, action: 'ALLOW' }), 'INVALID_INPUT', /syscalls\[0\]\.action is "ALLOW"/],
    ['an agent', one({ ...allow, action: 'SCMP_ACT_NOTIFY' }), 'NOT_SUPPORTED', /SCMP_ACT_NOTIFY/],
    ['flags', { ...one(allow), flags: ['SECCOMP_FILTER_FLAG_LOG'] }, 'NOT_SUPPORTED', /"flags" is set/],
    ['no names', one({ ...allow, names: [] }), 'INVALID_INPUT', /names no system call/],
    [
      'an error number too high',
      one({ ...allow, action: 'SCMP_ACT_ERRNO', errnoRet: 70000 }),
      'INVALID_INPUT',
      /70000/,
    ],
    ['an error name alone', { ...one(allow), defaultErrno: 'EPERM' }, 'NOT_SUPPORTED', /without a number/],
    [
      'an argument of none',
      one({ ...allow, args: [{ index: 6, value: 1, op: 'SCMP_CMP_EQ' }] }),
      'INVALID_INPUT',
      /0 to 5/,
    ],
    [
      'a negative value',
      one({ ...allow, args: [{ index: 0, value: -1, op: 'SCMP_CMP_EQ' }] }),
      'INVALID_INPUT',
      /is -1/,
    ],
    ['a fraction', one({ ...allow, args: [{ index: 0, value: 1.5, op: 'SCMP_CMP_EQ' }] }), 'INVALID_INPUT', /is 1\.5/],
    ['an unknown operator', one({ ...allow, args: [{ index: 0, value: 1, op: '=' }] }), 'INVALID_INPUT', /op is "="/],
    ['a kernel of letters', one({ ...allow, includes: { minKernel: 'new' } }), 'INVALID_INPUT', /minKernel is "new"/],
    [
      'a forbidden call that does not exist',
      { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mounnt'], action: 'SCMP_ACT_ERRNO' }] },
      'INVALID_INPUT',
      /forbids "mounnt"/,
    ],
  ];
  for (const [title, profile, code, message] of refusals) {
    it(`are refused with ${title}`, () => throws(() => parse(profile), { code, message }));
  }

  it('are refused when they are no JSON', () =>
    throws(() => parseProfile('{', '/p.json'), { code: 'INVALID_INPUT', message: /"\/p\.json": not JSON/ }));

  it('may forbid calls of other architectures, which do not exist here', () => {
    const names = ['umount', 'chown32', 'clock_settime64', 'stime'];
    const profile = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names, action: 'SCMP_ACT_ERRNO' }] };
    deepEqual(parse(profile).rules[0]?.names, names);
  });

  it('choose their rules by kernel, architecture and capabilities', () => {
    const chosen = (condition: object): readonly number[] =>
      [{ includes: condition }, { excludes: condition }].map(
        (more) =>
          selectRules(parse(one({ ...allow, ...more })), {
            architecture: 'amd64',
            kernel: { major: 5, minor: 10 },
            capabilities: new Set(['CAP_CHOWN', 'CAP_BPF']),
          }).length,
      );
    deepEqual(chosen({ minKernel: '5.9' }), [1, 0]);
    deepEqual(chosen({ minKernel: '5.11' }), [0, 1]);
    deepEqual(chosen({ arches: ['arm64', 'amd64'] }), [1, 0]);
    deepEqual(chosen({ arches: ['arm64'] }), [0, 1]);
    deepEqual(chosen({ caps: ['CAP_BPF', 'CAP_CHOWN'] }), [1, 0]);
    deepEqual(chosen({ caps: ['CAP_BPF', 'CAP_KILL'] }), [0, 0]);
    deepEqual(parseKernelVersion('6.1.0-9-amd64'), { major: 6, minor: 1 });
  });
});

describe('compiled seccomp programs', () => {
  let dir = '';
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'tsswarm-seccomp-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it('are files that equal rules share and other rules do not', async () => {
    const programs = new CompiledPrograms(join(dir, 'cache'));
    const paths = await Promise.all([
      programs.programPath('default', ['CAP_CHOWN']),
      programs.programPath('default', []),
      programs.programPath('default', ['CAP_SYS_ADMIN']),
    ]);
    equal(paths[0], paths[1]);
    equal(new Set(paths).size, 2);
    match(paths[0] ?? '', /\/[0-9a-f]{64}\.bpf$/);
    deepEqual(readdirSync(join(dir, 'cache')).length, 2);
    equal(statSync(paths[0] ?? '').size % 8, 0);
    equal(statSync(join(dir, 'cache')).mode & 0o777, 0o700);
  });

  it('come back when the file has gone', async () => {
    const programs = new CompiledPrograms(dir);
    const path = await programs.programPath('default', []);
    const before = readFileSync(path);
    rmSync(path);
    equal(await programs.programPath('default', []), path);
    deepEqual(readFileSync(path), before);
  });

  it('follow a profile that has changed', async () => {
    const programs = new CompiledPrograms(dir);
    const profile = join(dir, 'p.json');
    writeFileSync(profile, '{"defaultAction": "SCMP_ACT_ALLOW"}');
    const first = await programs.programPath(profile, []);
    writeFileSync(profile, '{"defaultAction": "SCMP_ACT_LOG"}');
    const second = await programs.programPath(profile, []);
    equal(first === second, false);
  });

  it('are not made of a file that is missing', () =>
    rejects(new CompiledPrograms(dir).programPath(join(dir, 'none.json'), []), {
      code: 'INVALID_INPUT',
      message: /none\.json": ENOENT/,
    }));
});
