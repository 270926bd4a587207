import type { Semaphore } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import type { ContainerId, TaskId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import type { Engine } from '../../../node-engine/types.ts';
import type { Drift, NodeDescription, Task, TaskAddress, TaskStatus } from '../../../proto/types/index.ts';
import type { Assignments } from '../assignments.ts';

/** What a controller needs of the node around it. */
export interface TaskSurroundings {
  readonly engine: Pick<Engine, 'containers' | 'images'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What this node is. */
  readonly describe: () => NodeDescription;
  /** Bounds how many containers are made or started at the same moment. */
  readonly starting: Semaphore;
  readonly assignments: () => Assignments;
  /** Makes the bridges of the task's networks; when it is doubted that they are there still, it looks. */
  readonly prepareNetworks: (task: Task, doubt?: 'doubted') => Promise<void>;
  /** Why the task's published ports cannot be had; undefined when they can. */
  readonly portTrouble: (task: Task) => string | undefined;
  /** The sandbox exists: names can be resolved from now on. */
  readonly attachResolver: (task: Task, id: ContainerId, running?: 'running') => Promise<void>;
  readonly detachResolver: (id: ContainerId) => Promise<void>;
  /** It does not outlive the lease of the node. */
  readonly isFenced: (task: Task) => boolean;
  /** Absent: what is fenced may run. Else how long it may take to end, ms. */
  readonly fencedMs: () => number | undefined;
  /** Whether what another node may have been given meanwhile may be started. */
  readonly mayStart: () => boolean;
  /** Whether the managers have heard that the task has a container here. */
  readonly hasHeard: (taskId: TaskId) => boolean;
  /** Whether all is known that a changed container needs: secrets come from the managers after each start. */
  readonly mayChange: () => boolean;
  /** Says a status to the manager. */
  readonly report: (taskId: TaskId, status: TaskStatus) => void;
  /** The container is running or no longer: the node's port table may change. */
  readonly runningChanged: (task: Task) => void;
  /** Its container has other addresses now, or is about to lose some. Resolves when nobody on this node is led to others. */
  readonly addressesChanged: (task: Task) => Promise<void>;
  /** Resolves when nobody on this node is led to the task any more. */
  readonly withdraw: (task: Task) => Promise<void>;
}

/** Makes one task true and says what becomes of it. */
export interface TaskController {
  /** The manager wants something else now. */
  update(task: Task): void;
  readonly status: TaskStatus;
  readonly task: Task;
  /** The container runs, and is not about to be stopped. */
  readonly running: boolean;
  /** The container is about to be stopped: nobody shall be led to it. */
  readonly leaving: boolean;
  /** Looks whether somebody has changed the container by hand, and says so. @returns all that is known of that */
  look(): Promise<readonly Drift[]>;
  /** Those of the task's addresses that its container has. */
  readonly addresses: readonly TaskAddress[];
  /** The container whose network this one shares has other addresses now. */
  refresh(): void;
  /** Ends the controller; the container stays as it is. */
  close(): void;
}
