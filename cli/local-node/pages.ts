import type { ServiceClient } from '../../proto/rpc/client.ts';
import type { controlService } from '../../proto/rpc/services.ts';

/** The manager's answers about all objects, whole, however many messages they take. */
export function withWholeLists(control: ServiceClient<typeof controlService>): ServiceClient<typeof controlService> {
  return {
    ...control,
    async listObjects(request, ...rest) {
      const ask = { ...request, inPages: true };
      const first = await control.listObjects(ask, ...rest);
      if (first.moreAfter === undefined) return first;
      const tasks = [...first.tasks];
      for (let afterTask: string | undefined = first.moreAfter; afterTask !== undefined;) {
        const page = await control.listObjects({ ...ask, afterTask }, ...rest);
        tasks.push(...page.tasks);
        afterTask = page.moreAfter;
      }
      // As they come in one message: the oldest first.
      return { ...first, tasks: tasks.toSorted((a, b) => a.meta.createdAt - b.meta.createdAt) };
    },
  };
}
