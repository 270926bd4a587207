import { expandContainerName } from '../../base/template/index.ts';
import type { Service } from '../../proto/types/index.ts';

/**
 * Name of the container in `slot`, as compose users know it: "shop-web-1", or the service's own container name, which may be a template. Of a service of no
 * project as Docker Swarm's users do: "web.1".
 */
export function containerName(service: Service, slot: number): string {
  const { containerName: own, composeName, name } = service.spec;
  if (service.projectName === '') return `${name}.${slot}`;
  if (own === '') return `${service.projectName}-${composeName}-${slot}`;
  return expandContainerName(own, { id: service.id, name, labels: service.spec.labels }, slot);
}

/** Labels that users' tools read on a task's container, beside those of the spec. */
export function taskLabels(service: Service, slot: number, taskId: string, oneOff: boolean): Record<string, string> {
  return {
    ...(service.projectName === ''
      ? {}
      : {
          'com.docker.compose.project': service.projectName,
          'com.docker.compose.service': service.spec.composeName,
          'com.docker.compose.container-number': String(Math.max(slot, 1)),
          'com.docker.compose.oneoff': oneOff ? 'True' : 'False',
        }),
    'com.docker.swarm.service.id': service.id,
    'com.docker.swarm.service.name': service.spec.name,
    'com.docker.swarm.task.id': taskId,
  };
}
