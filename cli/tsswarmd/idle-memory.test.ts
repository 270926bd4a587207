import { deepEqual } from 'node:assert/strict';
import { trimAtRest } from './idle-memory.ts';

/** A daemon that works as it is told: CPU milliseconds in each interval. @returns in which of them memory was given back */
function trimmed(work: readonly number[]): readonly number[] {
  let cpu = 0;
  const looks: (() => void)[] = [];
  const given: number[] = [];
  let interval = -1;
  const clock = {
    startTimer: (_: number, fire: () => void) => {
      looks.push(fire);
      return { cancel: () => looks.splice(0) };
    },
  };
  const stop = trimAtRest(clock, { cpuTime: () => cpu, trim: () => given.push(interval) });
  for (const ms of work) {
    interval++;
    cpu += ms * 1000;
    looks.shift()?.();
  }
  stop();
  deepEqual(looks, []);
  return given;
}

describe('memory of a daemon at rest', () => {
  it('is given back once after work, when it has ended', () => {
    deepEqual(trimmed([1000, 2000, 500, 20, 20, 20, 20]), [3]);
  });
  it('is left alone while there is little to do', () => {
    deepEqual(trimmed([20, 20, 20, 20, 20]), []);
  });
  it('is given back again after more work, also when it comes in small pieces', () => {
    deepEqual(trimmed([300, 10, 600, 10, 150, 100, 10]), [1, 3, 5]);
  });
});
