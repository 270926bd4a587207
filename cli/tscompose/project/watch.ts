import { isTsswarmError } from '../../../base/errors.ts';
import type { NodeClient } from '../../local-node/index.ts';
import { ProjectView } from './view.ts';

/** For this long a node that has gone away (it is restarted, or upgraded) is waited for. */
const PATIENCE_MS = 30_000;
const RETRY_MS = 200;

/** A view of a project that stays true, and tells when it changes. */
export interface ProjectWatch {
  readonly view: ProjectView;
  /**
   * Resolves with the first value of `judge` that is not undefined; it is asked now and after each change.
   * @throws the signal's reason; UNAVAILABLE when the node stays away
   */
  until<T>(judge: (view: ProjectView) => T | undefined, signal?: AbortSignal): Promise<T>;
  /** Calls back after each change, until `close`. */
  onChange(changed: () => void): void;
  close(): void;
}

/**
 * Watches a project by name; it need not exist yet. Resolves when the view is complete.
 * @param serviceId only this service and its tasks, whatever project it is of
 */
export async function watchProject(
  control: NodeClient['control'],
  project: string,
  serviceId?: string,
): Promise<ProjectWatch> {
  const request = { project, ...(serviceId === undefined ? {} : { serviceId }) };
  const view = new ProjectView();
  const end = new AbortController();
  const listeners = new Set<() => void>();
  const first = Promise.withResolvers<void>();
  let failure: unknown;
  const wake = (): void => {
    for (const listener of [...listeners]) listener();
  };
  const follow = async (): Promise<void> => {
    let lostAt: number | undefined;
    while (!end.signal.aborted) {
      try {
        for await (const event of control.watchProject(request, end.signal)) {
          lostAt = undefined;
          view.take(event);
          first.resolve();
          wake();
        }
      } catch (error) {
        if (end.signal.aborted) return;
        const passes = isTsswarmError(error, 'UNAVAILABLE') || isTsswarmError(error, 'CANCELLED');
        lostAt ??= performance.now();
        if (!passes || performance.now() - lostAt > PATIENCE_MS) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };
  follow().catch((error: unknown) => {
    failure = error;
    first.reject(error);
    wake();
  });
  await first.promise;
  return {
    view,
    until: (judge, signal) =>
      new Promise((resolve, reject) => {
        const done = (): void => {
          listeners.delete(look);
          signal?.removeEventListener('abort', stop);
        };
        const stop = (): void => {
          done();
          reject(signal?.reason as Error);
        };
        const look = (): void => {
          if (failure !== undefined) {
            done();
            return reject(failure as Error);
          }
          try {
            const value = judge(view);
            if (value === undefined) return;
            done();
            resolve(value);
          } catch (error) {
            done();
            reject(error as Error);
          }
        };
        listeners.add(look);
        signal?.addEventListener('abort', stop, { once: true });
        if (signal?.aborted === true) stop();
        else look();
      }),
    onChange: (changed) => void listeners.add(changed),
    close: () => {
      end.abort(new Error('closed'));
      listeners.clear();
    },
  };
}
