import { TsswarmError } from '../../base/errors.ts';
import { parseDurationMs } from '../../compose/normalise/units.ts';

/** Less would leave no time to tell everybody of a new key before it is old. */
const LEAST_MS = 10_000;

/** What `--network-key-interval` says, ms: "12h"; "0": keys are rotated on command only. Undefined: it says nothing. @throws INVALID_INPUT */
export function keyInterval(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = text === '0' ? 0 : parseDurationMs(text);
  if (ms !== undefined && (ms === 0 || ms >= LEAST_MS)) return Math.round(ms);
  throw new TsswarmError(
    'INVALID_INPUT',
    `using --network-key-interval "${text}": expected a time of ten seconds or more, such as 12h, or 0 to rotate keys on command only`,
  );
}
