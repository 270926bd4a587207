import { join } from 'node:path';
import { messageOf } from '../../../base/errors.ts';
import type { ContainerParts } from '../parts.ts';
import type { ContainerRecord } from '../record.ts';
import { controlFiles, setLimits } from './limits.ts';
import type { StepName } from './plan.ts';
import { planSteps } from './plan.ts';

/** What steps work on. */
export type ChangeParts = Pick<ContainerParts, 'disk' | 'cgroups' | 'cgroupParent' | 'logger'>;

/** With its main process. */
type RunningParts = ChangeParts & { readonly pid: number };

type Executor = (parts: RunningParts, wanted: ContainerRecord, before: ContainerRecord) => Promise<void> | void;

const EXECUTORS: Readonly<Record<StepName, Executor>> = {
  limits({ cgroups, cgroupParent }, { id, limits, name }) {
    setLimits(controlFiles(cgroups.map(({ path }) => join(path, cgroupParent, id))), limits, name);
  },
};

/**
 * Makes a running container what another record says: all of it, or nothing. What is under way stands on the disk, for the next engine
 * to finish should this one end.
 * @param pid its main process; 0: it does not run, and is started with what it shall be
 * @returns the steps that were taken
 * @throws NOT_SUPPORTED, or what a step throws; the container is as it was before
 */
export async function changeContainer(
  parts: ChangeParts,
  before: ContainerRecord,
  after: ContainerRecord,
  pid: number,
): Promise<readonly StepName[]> {
  const { disk } = parts;
  const steps = pid === 0 ? [] : planSteps(before, after);
  if (steps.length > 0) disk.writeChange(before.id, after);
  const taken: StepName[] = [];
  try {
    for (const step of steps) {
      taken.unshift(step);
      await EXECUTORS[step]({ ...parts, pid }, after, before);
    }
  } catch (error) {
    await takeBack({ ...parts, pid }, before, after, taken);
    disk.clearChange(before.id);
    throw error;
  }
  disk.commit(after);
  disk.clearChange(before.id);
  return steps;
}

/**
 * Finishes a change that was cut short, or takes it back where that is refused.
 * @returns what the container is now
 */
export async function settleChange(parts: ChangeParts, before: ContainerRecord, pid: number): Promise<ContainerRecord> {
  const after = parts.disk.readChange(before.id);
  if (after === undefined) return before;
  const about = { id: before.id, name: before.name };
  try {
    const steps = await changeContainer(parts, before, after, pid);
    parts.logger.info('finished a change that was cut short', { ...about, steps: steps.join(', ') });
    return after;
  } catch (error) {
    parts.logger.warn('took back a change that was cut short', { ...about, reason: messageOf(error) });
    parts.disk.clearChange(before.id);
    return before;
  }
}

/** What cannot be taken back is told: the container is replaced by whoever asked for the change. */
async function takeBack(
  parts: RunningParts,
  before: ContainerRecord,
  after: ContainerRecord,
  taken: readonly StepName[],
): Promise<void> {
  for (const step of taken) {
    try {
      await EXECUTORS[step](parts, before, after);
    } catch (error) {
      const about = { id: before.id, name: before.name, step };
      parts.logger.error('a change cannot be taken back', { ...about, reason: messageOf(error) });
    }
  }
}
