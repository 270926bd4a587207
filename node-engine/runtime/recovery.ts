import { join } from 'node:path';
import type { ContainerId } from '../../base/ids.ts';
import { mountPointsBelow } from '../volume/mount-points.ts';
import { destroyCgroup, listCgroups } from './cgroups.ts';
import type { ContainerService } from './containers.ts';
import { clearContainer, undoAdoption } from './creation.ts';
import type { ContainerParts } from './parts.ts';
import type { MountCalls } from './ports.ts';
import { findProcesses, killProcess } from './process.ts';

const DETACH = 2;

/** What the daemon's death may have left behind, and where. */
export interface RecoveryParts extends ContainerParts {
  readonly calls: ContainerParts['calls'] & MountCalls;
  /** Folders of all containers' state and of their run directories. */
  readonly containerDirs: readonly string[];
  readonly runDir: string;
}

/**
 * Takes up every container that is on disk and removes what belongs to none: launchers cut short, bundles half-made, cgroups,
 * sandboxes, writable layers, anonymous volumes, secrets, mounts. The disk is the truth; whatever can be named without a
 * record there is garbage. Safe to repeat.
 */
export async function recoverContainers(parts: RecoveryParts, containers: ContainerService): Promise<void> {
  const { disk, layers, sandboxes, volumes, secrets, cgroups, cgroupParent, clock } = parts;
  const logger = parts.logger.child({ component: 'recovery' });
  killUnknownLaunchers(parts);
  const adoptions: [to: ContainerId, from: ContainerId][] = [];
  const halfMade: ContainerId[] = [];
  for (const id of disk.ids()) {
    const stored = disk.read(id);
    if (stored) {
      const from = disk.readAdoption(id);
      if (from !== undefined) adoptions.push([id, from]);
      containers.takeUp(stored.record, stored.status);
    } else {
      await undoAdoption(parts, id);
      halfMade.push(id);
    }
  }
  await containers.settleChanges();
  for (const [to, from] of adoptions) {
    await containers.remove(from);
    disk.clearAdoption(to);
  }

  const exists = (id: string): boolean => containers.has(id as ContainerId);
  const runs = (id: string): boolean => containers.inspect(id as ContainerId)?.state === 'running';
  for (const id of listCgroups(cgroups, cgroupParent).filter((name) => !runs(name))) {
    logger.info('removing cgroup', { id });
    if (!(await destroyCgroup(cgroups, cgroupParent, id, clock))) logger.error('cgroup cannot be removed', { id });
  }
  for (const point of parts.containerDirs.flatMap((directory) => mountPointsBelow(directory))) {
    logger.info('unmounting', { path: point });
    parts.calls.umount(point, DETACH);
  }
  for (const id of halfMade) {
    logger.info('removing half-made container', { id });
    await clearContainer(parts, id);
  }
  for (const id of (await sandboxes.list()).filter((one) => !exists(one))) {
    logger.info('removing sandbox', { id });
    await sandboxes.remove(id);
  }
  for (const id of layers.list().filter((one) => !exists(one))) {
    logger.info('removing writable layer', { id });
    await layers.remove(id);
  }
  for (const name of await volumes.collect(exists)) logger.info('removed anonymous volume', { name });
  volumes.unmountUnused();
  secrets.collect(exists);
}

/** Launchers that were setting up a container, or executing in one, when the daemon died. Supervisors are spared. */
function killUnknownLaunchers({ disk, launcherPath, runDir, logger }: RecoveryParts): void {
  const prefix = join(runDir, '/');
  const known = new Set(
    disk.ids().flatMap((id) => {
      const run = disk.readRun(id);
      return run ? [run.pid, run.supervisor.pid] : [];
    }),
  );
  // A launcher may fork while the list is read: look again until nothing new is found.
  for (let round = 0; round < 10; round++) {
    const unknown = findProcesses(launcherPath, prefix).filter(({ pid }) => !known.has(pid));
    if (unknown.length === 0) return;
    for (const { pid, argument } of unknown) {
      logger.info('killing launcher cut short', { pid, runDir: argument });
      killProcess(pid);
    }
  }
}
