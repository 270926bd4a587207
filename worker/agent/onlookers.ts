import type { TaskStatus } from '../../proto/types/index.ts';
import type { TaskController } from './task/controller.ts';
import { isFinal } from './task/step.ts';

/** Those who wait for a task's container. */
export interface Onlookers {
  /** Something has become of the task. */
  tell(taskId: string): void;
  /**
   * Resolves when the container of a task has been started, or the task has ended without; the task may not have come yet.
   * @throws the signal's reason
   */
  whenStarted(taskId: string, signal: AbortSignal): Promise<TaskStatus>;
}

/** @param controllers those that there are now */
export function createOnlookers(controllers: ReadonlyMap<string, TaskController>): Onlookers {
  const onlookers = new Map<string, Set<() => void>>();
  return {
    tell: (taskId) => onlookers.get(taskId)?.forEach((look) => look()),
    whenStarted: (taskId, signal) =>
      new Promise((resolve, reject) => {
        const looks = onlookers.get(taskId) ?? new Set();
        onlookers.set(taskId, looks);
        const done = (): void => {
          looks.delete(look);
          if (looks.size === 0) onlookers.delete(taskId);
          signal.removeEventListener('abort', leave);
        };
        const leave = (): void => {
          done();
          reject(signal.reason as Error);
        };
        const look = (): void => {
          const controller = controllers.get(taskId);
          if (controller === undefined || !(controller.running || isFinal(controller.status.state))) return;
          done();
          resolve(controller.status);
        };
        looks.add(look);
        signal.addEventListener('abort', leave, { once: true });
        look();
      }),
  };
}
