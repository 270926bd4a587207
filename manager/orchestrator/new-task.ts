import type { NodeId, TaskId } from '../../base/ids.ts';
import type { Service, Task, TaskSpec, TaskStatus } from '../../proto/types/index.ts';
import { containerName, taskLabels } from '../model/names.ts';
import { sharing } from '../model/shared-network.ts';
import { annotations, expandVolumes } from '../model/templates.ts';

/** What differs between tasks of one service. */
export interface TaskSeed {
  readonly id: TaskId;
  readonly slot: number;
  readonly now: number;
  readonly desiredState: Task['desiredState'];
  /** Absent: the service's dependencies are met. */
  readonly heldFor?: string;
  readonly predecessor?: Task;
  /** Of its restart, ms: it may not start before that is over. */
  readonly restartDelayMs?: number;
  readonly attempt?: number;
  readonly restartedAt?: readonly number[];
  /** Why what runs in its slot could not be changed instead. */
  readonly instead?: string;
  /** The one node that it may run on. */
  readonly node?: NodeId;
  /** The task whose network it shares. */
  readonly network?: Task;
}

/** Status of a task that nobody has touched. */
export function freshStatus(now: number, message: string): TaskStatus {
  return {
    state: 'new',
    timestamp: now,
    message,
    error: '',
    containerId: '',
    pid: 0,
    oomKilled: false,
    health: 'none',
    imageDigest: '',
    restartCount: 0,
  };
}

/** A task of a service's present spec. */
export function newTask(service: Service, seed: TaskSeed): Task {
  const { id, slot, now, node } = seed;
  const spec = labelled(service.spec.task, taskLabels(service, slot, id, false));
  const task: Task = {
    id,
    meta: { version: 0, createdAt: now, updatedAt: now },
    serviceId: service.id,
    projectId: service.projectId,
    slot,
    name: containerName(service, slot),
    // The scheduler puts it there, if the node can take it, and says why not.
    spec: node === undefined ? spec : { ...spec, constraints: [...spec.constraints, `node.id==${node}`] },
    specVersion: service.specVersion,
    revision: service.revision,
    desiredState: seed.desiredState,
    status: freshStatus(now, seed.heldFor === undefined ? 'created' : `waiting for ${seed.heldFor}`),
    nodeId: '',
    addresses: [],
    oneOff: false,
    autoRemove: false,
    ports: service.spec.ports.filter((port) => port.mode === 'host'),
    predecessor: seed.predecessor?.id ?? '',
    attempt: seed.attempt ?? 0,
    notBefore: seed.restartDelayMs === undefined ? 0 : now + seed.restartDelayMs,
    restartCount: service.restartCount,
    held: seed.heldFor !== undefined,
    graceOverrideMs: -1,
    ...(node === undefined ? {} : { boundNode: node }),
    ...(seed.restartDelayMs === undefined ? {} : { restartDelayMs: seed.restartDelayMs }),
    ...(seed.restartedAt === undefined ? {} : { restartedAt: seed.restartedAt }),
    ...(seed.instead === undefined || seed.instead === '' ? {} : { instead: seed.instead }),
    ...annotations(service, spec.container),
  };
  const shared = seed.network === undefined ? task : { ...task, ...sharing(task, seed.network) };
  return expandVolumes(shared, service);
}

/** A task spec whose container carries `labels` too. */
export function labelled(spec: TaskSpec, labels: Record<string, string>): TaskSpec {
  return { ...spec, container: { ...spec.container, labels: { ...spec.container.labels, ...labels } } };
}
