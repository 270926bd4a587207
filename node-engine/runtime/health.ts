import { TsswarmError } from '../../base/errors.ts';
import type { HealthCheck } from '../../proto/types/index.ts';
import type { ResolvedHealthCheck } from '../types.ts';

/** Docker's defaults (docs: Dockerfile reference, HEALTHCHECK). */
const DEFAULTS = { intervalMs: 30_000, timeoutMs: 30_000, retries: 3, startPeriodMs: 0, startIntervalMs: 5_000 };

/**
 * The health check to perform: each field from the spec, else from the image, else Docker's default; 0 counts as not given.
 * @returns undefined when there is no test, or it is switched off by ['NONE']
 * @throws INVALID_INPUT for a test that is neither CMD nor CMD-SHELL
 */
export function resolveHealthCheck(
  spec: HealthCheck | undefined,
  image: HealthCheck | undefined,
): ResolvedHealthCheck | undefined {
  const test = spec && spec.test.length > 0 ? spec.test : (image?.test ?? []);
  const [kind, ...rest] = test;
  if (kind === undefined || kind === 'NONE') return undefined;
  const field = (name: keyof typeof DEFAULTS): number => spec?.[name] || image?.[name] || DEFAULTS[name];
  return {
    argv: testArgv(kind, rest),
    intervalMs: field('intervalMs'),
    timeoutMs: field('timeoutMs'),
    retries: field('retries'),
    startPeriodMs: field('startPeriodMs'),
    startIntervalMs: field('startIntervalMs'),
  };
}

function testArgv(kind: string, rest: readonly string[]): readonly string[] {
  if (kind === 'CMD' && rest.length > 0) return rest;
  if (kind === 'CMD-SHELL' && rest.length === 1) return ['/bin/sh', '-c', rest[0] as string];
  throw new TsswarmError(
    'INVALID_INPUT',
    `reading the health check ${JSON.stringify([kind, ...rest])}: malformed test`,
    {
      hint: 'write ["CMD", program, arguments…], ["CMD-SHELL", line] or ["NONE"]',
    },
  );
}
