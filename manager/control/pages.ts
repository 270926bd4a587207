import type { ListObjectsRequest, ListObjectsResponse, Task } from '../../proto/types/index.ts';

/** Of 16 KiB each they still go into a message (proto/rpc/limits.ts); most have a kilobyte. */
export const TASKS_A_PAGE = 2000;

/** Tasks in pieces that go into a message. */
export function taskPages(tasks: readonly Task[]): readonly (readonly Task[])[] {
  if (tasks.length <= TASKS_A_PAGE) return [tasks];
  const pages: (readonly Task[])[] = [];
  for (let from = 0; from < tasks.length; from += TASKS_A_PAGE) pages.push(tasks.slice(from, from + TASKS_A_PAGE));
  return pages;
}

/**
 * What of a long answer goes into one message. Each page is of its own moment: a task that is there all the time is in one of them.
 * @param objects all that was asked for
 * @returns the first page has everything but the later tasks, the following ones have tasks alone
 */
export function pageOf(objects: ListObjectsResponse, request: ListObjectsRequest): ListObjectsResponse {
  const { inPages, afterTask } = request;
  if (inPages !== true || (afterTask === undefined && objects.tasks.length <= TASKS_A_PAGE)) return objects;
  const later = afterTask === undefined ? objects.tasks : objects.tasks.filter(({ id }) => id > afterTask);
  const tasks = later.toSorted((a, b) => (a.id < b.id ? -1 : 1)).slice(0, TASKS_A_PAGE);
  const last = tasks.at(-1);
  const rest = afterTask === undefined ? objects : { projects: [], services: [], networks: [], volumes: [] };
  return { ...rest, tasks, ...(later.length > tasks.length && last !== undefined ? { moreAfter: last.id } : {}) };
}
