import type { ServiceClient } from '../../proto/rpc/client.ts';
import type { tasksService } from '../../proto/rpc/services.ts';
import type { LogEntry } from '../../proto/types/index.ts';

/** The tasks of a node, with log entries one by one, as they were written. */
export function withSingleEntries(tasks: ServiceClient<typeof tasksService>): ServiceClient<typeof tasksService> {
  return {
    ...tasks,
    async *logs(request, signal) {
      for await (const { more, ...first } of tasks.logs(request, signal)) {
        yield first satisfies LogEntry;
        if (more === undefined) continue;
        for (const entry of more) {
          signal?.throwIfAborted();
          yield entry;
        }
      }
    },
  };
}
