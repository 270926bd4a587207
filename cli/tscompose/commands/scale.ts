import type { Context } from '../context.ts';
import { parseScale } from '../project/desired.ts';
import { up } from './up.ts';

export interface ScaleOptions {
  /** false with --no-deps. */
  readonly deps: boolean;
}

/** Changes how many containers services have. */
export async function scale(context: Context, words: readonly string[], { deps }: ScaleOptions): Promise<void> {
  const names = Object.keys(parseScale(words));
  await up(context, names, { ...PLAIN, detach: true, start: true, deps, scale: words });
}

const PLAIN = { recreate: true, color: true, logPrefix: true } as const;
