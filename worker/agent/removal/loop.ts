import { messageOf } from '../../../base/errors.ts';
import type { ContainerId, NetworkId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import type { Engine } from '../../../node-engine/types.ts';
import type { Assignments } from '../assignments.ts';
import type { Bridges } from '../bridges.ts';
import { containerIdOf } from '../container-id.ts';
import type { Reports } from '../reports/loop.ts';
import { TASK_ID_LABEL } from '../task/container-request.ts';
import type { TaskController } from '../task/controller.ts';

export interface RemovalOptions {
  readonly engine: Pick<Engine, 'containers' | 'volumes'>;
  readonly bridges: Pick<Bridges, 'collect' | 'remove' | 'keep'>;
  readonly reports: Pick<Reports, 'networkRemoved' | 'volumeRemoved'>;
  readonly assignments: () => Assignments;
  readonly controllers: ReadonlyMap<string, Pick<TaskController, 'task' | 'status'>>;
  /** Nobody is led to the container any more. */
  readonly detach: (id: ContainerId) => Promise<void>;
  readonly logger: Logger;
}

/** Takes away what nobody wants any more. */
export interface Removal {
  /** A container whose task the manager no longer knows is not wanted by anybody. */
  dropContainer(id: ContainerId): Promise<void>;
  /** Containers and bridges that belong to no assignment are left over from before: they go. */
  collectStrangers(): Promise<void>;
  /** Networks and volumes that the managers want to be gone, as far as no task of this node uses them. */
  removePending(): Promise<void>;
}

export function createRemoval(options: RemovalOptions): Removal {
  const { engine, bridges, reports, assignments: known, controllers, detach, logger } = options;
  const usesNetwork = (id: NetworkId): boolean =>
    [...controllers.values()].some(
      ({ task, status }) => status.state !== 'remove' && task.addresses.some(({ networkId }) => networkId === id),
    );
  /** A container that is just being made would make the volume anew. */
  const usesVolume = (name: string): boolean =>
    [...controllers.values()].some(
      ({ task, status }) =>
        status.state !== 'remove' &&
        task.spec.container.mounts.some((mount) => mount.type === 'volume' && mount.source === name),
    );
  const dropContainer = async (id: ContainerId): Promise<void> => {
    try {
      const container = engine.containers.inspect(id);
      if (container === undefined) return;
      await detach(id);
      if (container.state === 'running') await engine.containers.stop(id, { graceMs: 10_000 });
      await engine.containers.remove(id);
    } catch (error) {
      logger.warn('removing a container without a task', { containerId: id, reason: messageOf(error) });
    }
  };
  return {
    dropContainer,
    async collectStrangers() {
      const wanted = new Set([...known().tasks.keys()].map((taskId) => containerIdOf(taskId)));
      for (const { id, labels } of engine.containers.list()) {
        if (labels[TASK_ID_LABEL] !== undefined && !wanted.has(id)) await dropContainer(id);
      }
      await bridges.collect();
    },
    async removePending() {
      for (const network of known().networks.values()) {
        if (!network.pendingDelete || usesNetwork(network.id)) continue;
        if (await bridges.remove(network.id)) reports.networkRemoved(network.spec.name);
      }
      bridges.keep();
      for (const volume of known().volumes.values()) {
        if (!volume.pendingDelete || usesVolume(volume.spec.name)) continue;
        try {
          await engine.volumes.remove(volume.spec.name);
          reports.volumeRemoved(volume.spec.name);
        } catch (error) {
          logger.debug('volume stays for now', { volume: volume.spec.name, reason: messageOf(error) });
        }
      }
    },
  };
}
