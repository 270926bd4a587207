import { deepEqual, equal, throws } from 'node:assert/strict';
import { failureError, parseFailure, signalNumber } from './failure.ts';

describe('the failure line of the launcher', () => {
  it('is read, with what it leaves out as empty', () => {
    deepEqual(parseFailure('{"error":{"stage":"exec","path":"x","errno":"ENOENT","message":"m"}}\n'), {
      ...{ stage: 'exec', path: 'x', errno: 'ENOENT', message: 'm' },
    });
    deepEqual(parseFailure('{"error":{"message":"m"}}'), { stage: '', path: '', errno: '', message: 'm' });
    for (const text of ['', 'null', '{"pid":1}', '{"error":{}}', 'Segmentation fault'])
      equal(parseFailure(text), undefined, text);
  });

  for (const [stage, errno, code] of [
    ['exec', 'ENOENT', 'COMMAND_NOT_FOUND'],
    ['exec', 'EACCES', 'COMMAND_NOT_EXECUTABLE'],
    ['exec', 'ENOEXEC', 'COMMAND_NOT_EXECUTABLE'],
    ['exec', 'E2BIG', 'RUNTIME_FAILED'],
    ['mount', 'ENOENT', 'MOUNT_FAILED'],
    ['state', 'EBUSY', 'CONFLICT'],
    ['state', 'ESRCH', 'CONTAINER_NOT_RUNNING'],
    ['cgroup', 'EPERM', 'RUNTIME_FAILED'],
  ] as const)
    it(`at "${stage}" with ${errno} is ${code}`, () => {
      const error = failureError('starting', { stage, errno, path: 'p', message: 'because' });
      equal(error.code, code);
      equal(error.message, 'starting: because');
    });
});

describe('the number of a signal', () => {
  for (const [name, number] of [
    ['SIGTERM', 15],
    ['term', 15],
    ['9', 9],
    [' SIGUSR1 ', 10],
  ] as const)
    it(`"${name}" is ${number}`, () => equal(signalNumber(name), number));
  for (const name of ['', 'SIGNOPE', '0', '65', '-1', '1.5'])
    it(`"${name}" is none`, () => throws(() => signalNumber(name), { code: 'INVALID_INPUT' }));
});
