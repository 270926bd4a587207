import { TsswarmError } from '../../../base/errors.ts';
import type { Service, Task } from '../../../proto/types/index.ts';
import type { ExistingProject } from '../project/existing.ts';
import { ProjectView } from '../project/view.ts';

/** @throws INVALID_INPUT for what is no number from 1 */
export function readIndex(index: string | undefined): number | undefined {
  if (index === undefined) return undefined;
  if (/^[1-9]\d*$/.test(index)) return Number(index);
  throw new TsswarmError('INVALID_INPUT', `using --index "${index}": expected a number from 1`);
}

/**
 * Containers that files are copied from or to: of each slot the present one, running or not.
 * @param options.all those of `run`, too
 * @throws CONTAINER_NOT_RUNNING when there is none
 */
export function copyTasks(
  { services, tasks }: Pick<ExistingProject, 'services' | 'tasks'>,
  service: Service,
  options: { readonly all?: boolean; readonly index?: string },
): readonly Task[] {
  const index = readIndex(options.index);
  const view = new ProjectView();
  for (const one of services) view.services.set(one.id, one);
  for (const task of tasks) view.tasks.set(task.id, task);
  const oneOffs = options.all === true ? view.tasksOf(service).filter((task) => task.oneOff) : [];
  const found = [...view.currentTasks(service).values(), ...oneOffs].filter(
    ({ status, slot }) =>
      status.containerId !== '' && status.state !== 'remove' && (index === undefined || slot === index),
  );
  if (found.length > 0) return found;
  const which = index === undefined ? 'has no container' : `has no container ${index}`;
  throw new TsswarmError(
    'CONTAINER_NOT_RUNNING',
    `finding a container: service "${service.spec.composeName}" ${which}`,
    {
      hint: 'see "tscompose ps -a"',
    },
  );
}
