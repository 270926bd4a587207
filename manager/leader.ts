import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { allocatorStage } from './allocator/stage.ts';
import { runCaLoop } from './ca/loop.ts';
import type { ManagerGroup } from './cluster/group.ts';
import { runNodeLoop, runRoleLoop } from './cluster/loop.ts';
import type { Leases } from './model/lease.ts';
import type { Decisions } from './model/stages/decisions.ts';
import { runStages } from './model/stages/loop.ts';
import type { Stage } from './model/stages/stage.ts';
import { orchestratorStage } from './orchestrator/stage.ts';
import { rebalanceStage } from './rebalance/stage.ts';
import { matchesConstraint } from './model/constraints.ts';
import { schedulerStage } from './scheduler/stage.ts';
import type { Store } from './store/types.ts';

export interface LeaderOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Of the dispatcher on the same clock. */
  readonly leases: Pick<Leases, 'isOver'>;
  /** Decides in the transactions of others; absent: only the leader's loop decides. */
  readonly decisions?: Pick<Decisions, 'use'>;
  /** Absent: the manager is not one of several. */
  readonly group?: ManagerGroup;
}

/** What decides, in the order of the way of the data. */
export const leaderStages = (clock: Pick<Clock, 'now'>, random: Random): readonly Stage[] => [
  rebalanceStage(clock),
  orchestratorStage(clock, random, matchesConstraint),
  allocatorStage(clock),
  schedulerStage(clock, random),
];

/** Runs what decides, on the manager that leads, until `signal` aborts. */
export async function lead(options: LeaderOptions, signal: AbortSignal): Promise<void> {
  const { store, clock, random, logger, decisions } = options;
  const stages = leaderStages(clock, random);
  decisions?.use(stages);
  try {
    await Promise.all([
      runStages({ store, clock, logger: logger.child({ component: 'leader' }), stages }, signal),
      runCaLoop(options, signal),
      runNodeLoop({ ...options, matches: matchesConstraint }, signal),
      ...(options.group === undefined ? [] : [runRoleLoop({ ...options, group: options.group }, signal)]),
    ]);
  } finally {
    decisions?.use([]);
  }
}
