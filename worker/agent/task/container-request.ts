import { TsswarmError } from '../../../base/errors.ts';
import type { ContainerId, TaskId } from '../../../base/ids.ts';
import type { ContainerCreate, FileContent, SandboxInterface } from '../../../node-engine/types.ts';
import type { FileReference, Task } from '../../../proto/types/index.ts';
import type { Assignments } from '../assignments.ts';
import { containerIdOf } from '../container-id.ts';

/** Label by which the container of a task is found from outside. */
export const TASK_ID_LABEL = 'com.docker.swarm.task.id';

/**
 * What the engine is asked to make for a task.
 * @param adopt the stopped container of the task's predecessor, when this node has it; '' otherwise
 * @param fenced it does not outlive the node's lease
 * @throws NOT_FOUND when a network, secret or config of the task has not been assigned
 */
export function containerRequest(
  task: Task,
  imageId: string,
  assignments: Assignments,
  adopt: ContainerId | '',
  fenced: boolean,
): ContainerCreate {
  const { spec } = task;
  return {
    id: containerIdOf(task.id as TaskId),
    name: task.name,
    spec: spec.container,
    imageId,
    limits: spec.limits,
    log: spec.log,
    sandbox: { mode: spec.networkMode, interfaces: interfaces(task, assignments) },
    secrets: files(spec.container.secrets, assignments.secrets, 'secret'),
    configs: files(spec.container.configs, assignments.configs, 'config'),
    labels: { [TASK_ID_LABEL]: task.id },
    adopt,
    ...(fenced ? { fenced } : {}),
  };
}

function interfaces(task: Task, assignments: Assignments): SandboxInterface[] {
  if (task.spec.networkMode !== 'networks') return [];
  return task.addresses.map(({ networkId, ipv4 }) => {
    const network = assignments.networks.get(networkId);
    if (network === undefined) {
      throw new TsswarmError(
        'NOT_FOUND',
        `attaching "${task.name}" to network "${networkId}": the manager did not send it`,
      );
    }
    const prefix = Number(network.subnet.split('/')[1]);
    return { networkId, ipv4, prefix, gateway: network.spec.internal ? '' : network.gateway };
  });
}

function files(
  references: readonly FileReference[],
  objects: ReadonlyMap<string, { readonly spec: { readonly name: string; readonly data: Uint8Array } }>,
  kind: string,
): FileContent[] {
  if (references.length === 0) return [];
  const byName = new Map([...objects.values()].map((object) => [object.spec.name, object.spec.data]));
  return references.map(({ name, target, uid, gid, mode }) => {
    const data = byName.get(name);
    if (data === undefined) {
      throw new TsswarmError('NOT_FOUND', `giving ${kind} "${name}" to the container: the manager did not send it`);
    }
    return { target, uid, gid, mode, data };
  });
}
