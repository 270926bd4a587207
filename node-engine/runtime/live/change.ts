import { join } from 'node:path';
import { isTsswarmError, messageOf } from '../../../base/errors.ts';
import { processesIn } from '../../inspection/cgroup-files.ts';
import type { ContainerParts } from '../parts.ts';
import type { ContainerRecord } from '../record.ts';
import { parseLogConfig } from '../log-options.ts';
import { DEFAULT_SHM_BYTES, cleanTarget } from '../mounts.ts';
import { deviceRights, nodeChanges, setDeviceRules } from './devices.ts';
import { controlFiles, setLimits } from './limits.ts';
import { changeMounts, changeNames, changeSysctls, inside, resizeShm } from './namespaces.ts';
import type { StepName } from './plan.ts';
import { changeSignals, planSteps } from './plan.ts';
import { setProcessResources } from './processes.ts';

/** What steps work on. */
export type ChangeParts = Pick<
  ContainerParts,
  'disk' | 'cgroups' | 'cgroupParent' | 'logger' | 'calls' | 'volumes' | 'secrets' | 'launcher' | 'sandboxes'
>;

/** With its main process. */
type RunningParts = ChangeParts & { readonly pid: number };

type Executor = (parts: RunningParts, wanted: ContainerRecord, before: ContainerRecord) => Promise<void> | void;

const EXECUTORS: Readonly<Record<StepName, Executor>> = {
  limits(parts, { id, limits, name }) {
    setLimits(controlFiles(foldersOf(parts, id)), limits, name);
  },
  async devices(parts, wanted, before) {
    const { pid, calls } = parts;
    if (pid === 0) return;
    setDeviceRules(deviceRights(parts, wanted.id, controlFiles(foldersOf(parts, wanted.id))), wanted);
    await inside({ calls }, pid, wanted.name, nodeChanges(before, wanted), 'RUNTIME_FAILED');
  },
  resources(parts, wanted, before) {
    if (parts.pid === 0) return;
    const supervisor = parts.disk.readRun(wanted.id)?.supervisor.pid ?? parts.pid;
    const calls = {
      list: () => processesIn(foldersOf(parts, wanted.id)),
      setLimit: (...limit: Parameters<ContainerParts['calls']['setProcessLimit']>) =>
        parts.calls.setProcessLimit(...limit),
      supervisor,
    };
    setProcessResources(calls, wanted, before);
  },
  mounts: (parts, wanted, before) => changeMounts(parts, parts.pid, wanted, before),
  async shm(parts, { spec, name }) {
    // The node's own, or a mount of the user's.
    if (spec.ipcMode === 'host' || spec.mounts.some(({ target }) => cleanTarget(target) === '/dev/shm')) return;
    await resizeShm(parts, parts.pid, spec.shmBytes || DEFAULT_SHM_BYTES, name);
  },
  async networks({ sandboxes }, { id, sandbox }) {
    // Without a namespace it gets its networks when it is started.
    if (sandboxes.path(id) !== '') await sandboxes.create(id, sandbox);
  },
  names: (parts, wanted, before) => changeNames(parts, parts.pid, wanted, before),
  sysctls: (parts, wanted, before) => changeSysctls(parts, parts.pid, wanted, before),
  async log({ disk, launcher, pid }, { id, log }) {
    const rotation = parseLogConfig(log);
    if (rotation !== undefined && pid !== 0)
      await launcher.limitLog(disk.paths(id).runDir, rotation.maxBytes, rotation.maxFiles);
  },
  async signal({ disk, launcher, pid }, wanted, before) {
    for (const signal of pid === 0 ? [] : changeSignals(before, wanted)) {
      try {
        await launcher.signal(disk.paths(wanted.id).runDir, signal);
      } catch (error) {
        // It ends just now, and starts with the new files.
        if (!isTsswarmError(error, 'CONTAINER_NOT_RUNNING')) throw error;
      }
    }
  },
};

const foldersOf = ({ cgroups, cgroupParent }: ChangeParts, id: string): readonly string[] =>
  cgroups.map(({ path }) => join(path, cgroupParent, id));

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
  const steps = planSteps(before, after);
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
  // Who was told of new files is told of the old ones when these are back.
  const isSignal = (step: StepName): boolean => step === 'signal';
  for (const step of [...taken.filter((step) => !isSignal(step)), ...taken.filter(isSignal)]) {
    try {
      await EXECUTORS[step](parts, before, after);
    } catch (error) {
      const about = { id: before.id, name: before.name, step };
      parts.logger.error('a change cannot be taken back', { ...about, reason: messageOf(error) });
    }
  }
}
