import { numberWords } from '../../../base/published-port.ts';
import { isGlobal, isJob, slotsOf, currentOf } from '../../../manager/model/slots.ts';
import { isServing } from '../../../manager/model/task-state.ts';
import type { PublishedPort, Service, Task } from '../../../proto/types/index.ts';
import type { Column } from '../../render/format.ts';
import { renderList } from '../../render/format.ts';
import { byName } from '../nodes/words.ts';

const COLUMNS: readonly Column[] = [
  { name: 'ID', heading: 'ID' },
  { name: 'Name', heading: 'NAME' },
  { name: 'Mode', heading: 'MODE' },
  { name: 'Replicas', heading: 'REPLICAS' },
  { name: 'Image', heading: 'IMAGE' },
  { name: 'Ports', heading: 'PORTS' },
];
const ID_COLUMNS = 12;

export interface ServiceListOptions {
  readonly quiet?: boolean;
  readonly filter?: readonly string[];
  readonly format?: string;
}

/** As `docker service ls`. @param tasks of all these services */
export function renderServices(
  services: readonly Service[],
  tasks: readonly Task[],
  { quiet, format }: ServiceListOptions,
): string {
  const byService = Map.groupBy(tasks, ({ serviceId }) => serviceId);
  const sorted = [...services].sort((a, b) => byName(a.spec.name, b.spec.name));
  if (quiet === true && format === undefined) {
    return sorted.map(({ id }) => `${id.slice(0, ID_COLUMNS)}\n`).join('');
  }
  const rows = sorted.map((service) => ({
    ID: service.id.slice(0, ID_COLUMNS),
    Name: service.spec.name,
    Mode: modeWords(service),
    Replicas: replicaWords(service, byService.get(service.id) ?? []),
    Image: service.spec.task.container.image,
    Ports: service.ports
      .filter(({ mode }) => mode === 'ingress')
      .map(portWords)
      .join(', '),
  }));
  return renderList(format, COLUMNS, rows);
}

/** "replicated job" */
export const modeWords = ({ spec }: Service): string => (spec.mode ?? 'replicated').replace('-', ' ');

/** "*:8080->80/tcp" */
export const portWords = (port: PublishedPort): string =>
  `${port.hostIp === '' ? '*' : port.hostIp}:${numberWords(port)}->${port.target}/${port.protocol}`;

/** "2/3", "1/1 (max 1 per node)", "0/1 (2/3 completed)"; a service that is stopped says so. */
function replicaWords(service: Service, tasks: readonly Task[]): string {
  const slots = slotsOf(tasks);
  const current = [...slots.values()].flatMap((slot) => currentOf(slot, service) ?? []);
  const running = tasks.filter((task) => !task.oneOff && task.desiredState === 'running' && isServing(task)).length;
  const wanted = isGlobal(service) ? (service.desiredTasks ?? current.length) : service.spec.replicas;
  if (isJob(service.spec)) {
    const completed = current.filter(
      (task) => task.specVersion === service.specVersion && task.status.state === 'complete',
    ).length;
    return `${running}/${Math.max(0, wanted - completed)} (${completed}/${wanted} completed)`;
  }
  const most = service.spec.task.placement?.maxReplicasPerNode ?? 0;
  const words = `${running}/${wanted}`;
  if (service.pendingDelete) return `${words} (removing)`;
  if (service.stopped) return `${words} (stopped)`;
  return most > 0 ? `${words} (max ${most} per node)` : words;
}
