import { constants } from 'node:os';
import { TsswarmError } from './errors.ts';

/** signal(7): the real-time signals as glibc counts them (the kernel's first two are taken by the threads library). */
const SIGRTMIN = 34;
const SIGRTMAX = 64;

/**
 * The number of a signal written as "SIGTERM", "term", "15" or "SIGRTMIN+3".
 * @throws INVALID_INPUT when it is none
 */
export function parseSignal(text: string): number {
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    if (number >= 1 && number <= SIGRTMAX) return number;
  }
  const upper = text.toUpperCase();
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  const known = (constants.signals as Readonly<Record<string, number>>)[name];
  if (known !== undefined) return known;
  const realTime = /^SIGRT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name);
  if (realTime) {
    const offset = Number(realTime[3] ?? 0) * (realTime[2] === '-' ? -1 : 1);
    const number = (realTime[1] === 'MIN' ? SIGRTMIN : SIGRTMAX) + offset;
    if (number >= SIGRTMIN && number <= SIGRTMAX) return number;
  }
  throw new TsswarmError('INVALID_INPUT', `reading the signal "${text}": no such signal`, {
    hint: 'write a name such as "SIGTERM" or a number from 1 to 64',
  });
}
