/** A thread that simulates the seeds it is given, one after the other: {@link simulateAll}. */
import { parentPort } from 'node:worker_threads';
import type { Run } from './parallel.ts';
import { simulate } from './simulate.ts';

parentPort?.on('message', ({ seed, profile }: Run) => {
  // A failure of the room itself ends the thread, and is thrown where it was asked for.
  void simulate(seed, profile).then((outcome) => parentPort?.postMessage(outcome));
});
