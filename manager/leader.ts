import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { runAllocator } from './allocator/loop.ts';
import { runCaLoop } from './ca/loop.ts';
import { runNodeLoop, runRoleLoop } from './cluster/loop.ts';
import { runOrchestrator } from './orchestrator/loop.ts';
import type { Raft } from './raft/types.ts';
import { runScheduler } from './scheduler/loop.ts';
import type { Store } from './store/types.ts';

export interface LeaderOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Absent: the store is not one of several. */
  readonly raft?: Raft;
}

/** Runs the loops that decide, on the manager that leads, until `signal` aborts. */
export async function lead(options: LeaderOptions, signal: AbortSignal): Promise<void> {
  await Promise.all([
    runOrchestrator(options, signal),
    runAllocator(options, signal),
    runScheduler(options, signal),
    runCaLoop(options, signal),
    runNodeLoop(options, signal),
    ...(options.raft === undefined ? [] : [runRoleLoop({ ...options, raft: options.raft }, signal)]),
  ]);
}
