import type { Task } from '../../../proto/types/index.ts';
import type { LogSource } from '../../render/index.ts';

/** "web-1" of "shop-web-1": containers are told by their names without the project; own names are shown whole. */
export function sourceOf(task: Pick<Task, 'name' | 'spec'>): LogSource {
  const labels = task.spec.container.labels;
  const prefix = `${labels['com.docker.compose.project'] ?? ''}-`;
  const name = task.name.startsWith(prefix) ? task.name.slice(prefix.length) : task.name;
  return { name, service: labels['com.docker.compose.service'] ?? name };
}
