import type { Network, Service, Task, Volume, WatchProjectEvent } from '../../../proto/types/index.ts';
import { currentOf, slotsOf } from '../../../manager/model/slots.ts';

/** What is known of a project: the newest form of each of its objects. */
export class ProjectView {
  readonly services = new Map<string, Service>();
  /** Oldest first. */
  readonly tasks = new Map<string, Task>();
  readonly networks = new Map<string, Network>();
  readonly volumes = new Map<string, Volume>();

  /** Takes over an event; a complete one replaces everything. */
  take(event: WatchProjectEvent): void {
    if (event.complete) for (const table of [this.services, this.tasks, this.networks, this.volumes]) table.clear();
    for (const service of event.services) this.services.set(service.id, service);
    for (const task of event.tasks) this.tasks.set(task.id, task);
    for (const network of event.networks) this.networks.set(network.id, network);
    for (const volume of event.volumes) this.volumes.set(volume.id, volume);
    for (const id of event.removedServices) this.services.delete(id);
    for (const id of event.removedTasks) this.tasks.delete(id);
    for (const id of event.removedNetworks) this.networks.delete(id);
    for (const id of event.removedVolumes) this.volumes.delete(id);
  }

  /** The service of that name in the compose file, unless it is on its way out. */
  service(composeName: string): Service | undefined {
    for (const service of this.services.values()) {
      if (service.spec.composeName === composeName && !service.pendingDelete) return service;
    }
    return undefined;
  }

  /** All tasks of a service, one-off ones included, oldest first. */
  tasksOf(service: Service): readonly Task[] {
    return [...this.tasks.values()].filter(({ serviceId }) => serviceId === service.id);
  }

  /** The task that each slot is about now, by slot number. Slots without one are left out. */
  currentTasks(service: Service): ReadonlyMap<number, Task> {
    const current = new Map<number, Task>();
    const slots = slotsOf(this.tasksOf(service));
    for (const number of [...slots.keys()].sort((a, b) => a - b)) {
      const task = currentOf(slots.get(number) ?? [], service);
      if (task !== undefined) current.set(number, task);
    }
    return current;
  }
}
