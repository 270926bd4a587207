import { updateRules } from '../../../manager/model/update.ts';
import type { Service, UpdateState } from '../../../proto/types/index.ts';
import type { ProgressPhase, ProgressRow } from '../../render/progress.ts';
import type { UpFailure, UpPlan } from './up.ts';

/** How an update looks that this command has begun, or goes on with. */
export interface ShownUpdate {
  /** Absent: there is nothing to say beside the containers' own lines. */
  readonly row?: ProgressRow;
  /** Nothing more will come of it by itself. */
  readonly over: boolean;
  /** It watches containers that serve: what becomes of them is worth waiting for. */
  readonly watched: boolean;
  readonly failure?: UpFailure;
}

const SHOWN: Readonly<Record<UpdateState, readonly [status: string, phase: ProgressPhase]>> = {
  updating: ['Updating', 'working'],
  completed: ['Updated', 'done'],
  paused: ['Update paused', 'error'],
  rollback_started: ['Rolling back', 'working'],
  rollback_paused: ['Rollback paused', 'error'],
  rollback_completed: ['Rolled back', 'error'],
};

/** Judges a service's update; undefined when this command has nothing to do with it. */
export function judgeUpdate(service: Service, plan: UpPlan): ShownUpdate | undefined {
  const status = service.updateStatus;
  const { composeName } = service.spec;
  const isConcerned = plan.changes.some(
    ({ kind, name, action }) =>
      kind === 'service' && name === composeName && (action === 'replace' || action === 'update'),
  );
  if (status === undefined || !isConcerned || service.stopped) return undefined;
  const before = plan.updatesBefore?.get(service.id);
  const isOld = before?.startedAt === status.startedAt && before.specVersion === status.specVersion;
  const over = status.state !== 'updating' && status.state !== 'rollback_started';
  if (isOld && over) return undefined;
  const [word, phase] = SHOWN[status.state];
  const isAsked = plan.rollback === true;
  const isPlain = status.total <= 1 && (status.state === 'updating' || status.state === 'completed');
  const row: ProgressRow = {
    key: `service ${composeName}`,
    label: `Service ${composeName}`,
    status: word,
    phase: isAsked && status.state === 'rollback_completed' ? 'done' : phase,
    detail: over ? '' : status.message.replace(/^(update in progress|rolling back)/, '').replace(/^[:;\s]+/, ''),
    quiet: phase === 'working',
  };
  const isGood = status.state === (isAsked ? 'rollback_completed' : 'completed') && status.failed.length === 0;
  return {
    ...(isPlain ? {} : { row }),
    over,
    watched: updateRules(service).monitorMs > 0,
    ...(over && !isGood
      ? {
          failure: {
            service: composeName,
            container: composeName,
            reason: `updating service "${composeName}": ${status.message.replace(/^update (paused|completed)/, '$1')}`,
          },
        }
      : {}),
  };
}
