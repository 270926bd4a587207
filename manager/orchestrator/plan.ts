import type { NetworkId, ProjectId, RevisionId, SecretId, ConfigId, ServiceId, TaskId } from '../../base/ids.ts';
import type {
  Config,
  Network,
  Node,
  Project,
  Revision,
  Secret,
  Service,
  Task,
  Volume,
} from '../../proto/types/index.ts';

/** Wall time, ms, by the clock of the one that leads now. What other leaders wrote down is by their clocks: it can be hours off. */
export interface LeaderTime {
  readonly now: number;
  /** When this one began to lead. */
  readonly ledSince: number;
}

/** What the orchestrator sees of the store. */
export interface ClusterView {
  readonly projects: readonly Project[];
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
  readonly networks: readonly Network[];
  readonly volumes: readonly Volume[];
  readonly secrets: readonly Secret[];
  readonly configs: readonly Config[];
  readonly revisions: readonly Revision[];
  readonly nodes: readonly Node[];
  /** Tasks kept per slot, the live one included. */
  readonly historyLimit: number;
}

/** Changes that bring the tasks nearer to the services. Empty: converged. */
export interface Plan {
  readonly createTasks: readonly Task[];
  readonly updateTasks: readonly Task[];
  readonly removeTasks: readonly TaskId[];
  readonly updateServices: readonly Service[];
  readonly removeServices: readonly ServiceId[];
  readonly removeNetworks: readonly NetworkId[];
  readonly removeSecrets: readonly SecretId[];
  readonly removeConfigs: readonly ConfigId[];
  readonly removeProjects: readonly ProjectId[];
  readonly removeRevisions: readonly RevisionId[];
}

/** A transaction is limited in size (16 MiB; a task is some kilobytes), and a long one holds up the heartbeats. */
const MAX_NEW_TASKS = 500;

/** Gathers a plan; a task that is changed twice is changed once, with both changes. */
export class PlanBuilder {
  readonly #creates: Task[] = [];
  readonly #updates = new Map<TaskId, Task>();
  readonly #removals = new Set<TaskId>();
  readonly #services = new Map<ServiceId, Service>();
  readonly removeServices: ServiceId[] = [];
  readonly removeNetworks: NetworkId[] = [];
  readonly removeSecrets: SecretId[] = [];
  readonly removeConfigs: ConfigId[] = [];
  readonly removeProjects: ProjectId[] = [];
  readonly removeRevisions: RevisionId[] = [];

  /** As many tasks are made as one transaction shall hold: the others are planned at the next look. */
  get isFull(): boolean {
    return this.#creates.length >= MAX_NEW_TASKS;
  }

  create(task: Task): void {
    this.#creates.push(task);
  }

  update(task: Task, change: Partial<Task>): void {
    this.#updates.set(task.id, { ...(this.#updates.get(task.id) ?? task), ...change });
  }

  updateService(service: Service): void {
    this.#services.set(service.id, service);
  }

  remove(id: TaskId): void {
    this.#removals.add(id);
  }

  build(): Plan {
    return {
      createTasks: this.#creates,
      updateTasks: [...this.#updates.values()].filter(({ id }) => !this.#removals.has(id)),
      removeTasks: [...this.#removals],
      updateServices: [...this.#services.values()].filter(({ id }) => !this.removeServices.includes(id)),
      removeServices: this.removeServices,
      removeNetworks: this.removeNetworks,
      removeSecrets: this.removeSecrets,
      removeConfigs: this.removeConfigs,
      removeProjects: this.removeProjects,
      removeRevisions: this.removeRevisions,
    };
  }
}

/** Whether there is nothing to do. */
export const isEmptyPlan = (plan: Plan): boolean =>
  Object.values(plan).every((list: readonly unknown[]) => list.length === 0);
