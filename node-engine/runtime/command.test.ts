import { deepEqual, equal, throws } from 'node:assert/strict';
import type { HealthCheck } from '../../proto/types/index.ts';
import { imageConfig } from '../../test/builders/container-spec.ts';
import type { ResolvedHealthCheck } from '../types.ts';
import { DEFAULT_PATH, resolveArgv, resolveEnvironment } from './command.ts';
import { resolveHealthCheck } from './health.ts';
import { parseSecurityOptions } from './security.ts';

const args = (...words: string[]): { args: string[] } => ({ args: words });

describe('argv', () => {
  const image = imageConfig({ entrypoint: ['/entry'], command: ['serve'] });
  const cases: readonly [string, Omit<Parameters<typeof resolveArgv>[0], 'image'>, string[]][] = [
    ["the image's own", {}, ['/entry', 'serve']],
    ['a command replaces the command', { command: args('dump') }, ['/entry', 'dump']],
    ['an entrypoint drops the command', { entrypoint: args('sh') }, ['sh']],
    ['both', { entrypoint: args('sh'), command: args('-c', 'x') }, ['sh', '-c', 'x']],
    ['an empty entrypoint leaves the command alone', { entrypoint: args(), command: args('ls') }, ['ls']],
  ];
  for (const [title, spec, expected] of cases) {
    it(title, () => deepEqual(resolveArgv({ image: 'x', ...spec }, image), expected));
  }
});

describe('environment', () => {
  it('lays the spec over the image over the defaults', () => {
    deepEqual(resolveEnvironment(['PATH=/i', 'A=1', 'B=2'], ['A=3', 'B', 'C=x=y'], 'web', true), [
      'PATH=/i',
      'HOSTNAME=web',
      'TERM=xterm',
      'A=3',
      'C=x=y',
    ]);
    deepEqual(resolveEnvironment([], [], 'h', false), [`PATH=${DEFAULT_PATH}`, 'HOSTNAME=h']);
  });
});

describe('health check', () => {
  const image: HealthCheck = { test: ['CMD-SHELL', 'curl x'], intervalMs: 1000, retries: 7 };
  const docker = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0, startIntervalMs: 5_000 };
  const cases: readonly [string, HealthCheck | undefined, HealthCheck | undefined, ResolvedHealthCheck | undefined][] =
    [
      ['none anywhere', undefined, undefined, undefined],
      ['switched off', { test: ['NONE'] }, image, undefined],
      ["the image's", undefined, image, { ...docker, argv: ['/bin/sh', '-c', 'curl x'], intervalMs: 1000, retries: 7 }],
      [
        'times of the spec over it',
        { test: [], retries: 1 },
        image,
        { ...docker, argv: ['/bin/sh', '-c', 'curl x'], intervalMs: 1000, retries: 1 },
      ],
      ['a test of its own', { test: ['CMD', 'ok'] }, undefined, { ...docker, argv: ['ok'] }],
    ];
  for (const [title, spec, ofImage, expected] of cases) {
    it(title, () => deepEqual(resolveHealthCheck(spec, ofImage), expected));
  }
  it('refuses a malformed test', () =>
    throws(() => resolveHealthCheck({ test: ['curl'] }, undefined), { code: 'INVALID_INPUT' }));
});

describe('security options', () => {
  it('understands what Docker does', () => {
    deepEqual(parseSecurityOptions(['no-new-privileges:true', 'seccomp=/p.json', 'label=disable'], false), {
      noNewPrivileges: true,
      seccomp: '/p.json',
      unmaskedPaths: false,
    });
    equal(parseSecurityOptions([], true).seccomp, 'unconfined');
    equal(parseSecurityOptions(['seccomp=unconfined'], false).seccomp, 'unconfined');
  });
});
