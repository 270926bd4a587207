import { Worker } from 'node:worker_threads';
import type { Job, JobResults, Reply, Request } from './worker-protocol.ts';
import { reviveFailure } from './worker-protocol.ts';

/** Compiled, the thread's file is JavaScript; from source, TypeScript. */
const THREAD = new URL(import.meta.url.endsWith('.ts') ? './worker-thread.ts' : './worker-thread.js', import.meta.url);

interface Task {
  readonly id: number;
  readonly job: Job;
  readonly onProgress: (bytes: number) => void;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (result: JobResults[Job['kind']]) => void;
  readonly reject: (error: unknown) => void;
}

interface Thread {
  readonly worker: Worker;
  task: Task | undefined;
  idle: NodeJS.Timeout | undefined;
}

/** A few threads for disk work, started on demand and ended when nothing has come for a while. */
export class SnapshotWorkers {
  readonly #size: number;
  readonly #idleMs: number;
  readonly #threads = new Set<Thread>();
  readonly #queue: Task[] = [];
  #nextId = 1;
  #closed = false;

  /**
   * @param size most threads at a time; each uses one core while it works
   * @param idleMs a thread without work for that long ends
   */
  constructor(size = 2, idleMs = 10_000) {
    this.#size = size;
    this.#idleMs = idleMs;
  }

  /**
   * Runs a job; jobs beyond the number of threads wait in order.
   * @param onProgress bytes of the archive read so far
   * @throws what the job throws, or the signal's reason
   */
  async run<K extends Job['kind']>(
    job: Job & { readonly kind: K },
    onProgress: (bytes: number) => void = () => undefined,
    signal?: AbortSignal,
  ): Promise<JobResults[K]> {
    signal?.throwIfAborted();
    if (this.#closed) throw new Error('the snapshot workers are closed');
    const { promise, resolve, reject } = Promise.withResolvers<JobResults[Job['kind']]>();
    const task: Task = { id: this.#nextId++, job, onProgress, signal, resolve, reject };
    const onAbort = (): void => this.#cancel(task);
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#queue.push(task);
    this.#dispatch();
    try {
      return (await promise) as JobResults[K];
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Ends the threads; jobs under way fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const gone = new Error('the snapshot workers are closed');
    for (const task of this.#queue.splice(0)) task.reject(gone);
    await Promise.all([...this.#threads].map((thread) => this.#end(thread, gone)));
  }

  #dispatch(): void {
    while (this.#queue.length > 0) {
      const thread = [...this.#threads].find((one) => one.task === undefined) ?? this.#start();
      if (thread === undefined) return;
      const task = this.#queue.shift() as Task;
      clearTimeout(thread.idle);
      thread.task = task;
      thread.worker.ref();
      thread.worker.postMessage({ id: task.id, job: task.job } satisfies Request);
    }
  }

  #start(): Thread | undefined {
    if (this.#threads.size >= this.#size) return undefined;
    const thread: Thread = { worker: new Worker(THREAD), task: undefined, idle: undefined };
    this.#threads.add(thread);
    thread.worker.on('message', (reply: Reply) => this.#onReply(thread, reply));
    // A thread that dies takes its job along; the next job gets a new one.
    thread.worker.on('error', (error) => void this.#end(thread, error));
    thread.worker.on('exit', (code) => void this.#end(thread, new Error(`snapshot worker ended with code ${code}`)));
    return thread;
  }

  #onReply(thread: Thread, reply: Reply): void {
    const task = thread.task;
    if (task?.id !== reply.id) return;
    if ('progress' in reply) return task.onProgress(reply.progress);
    thread.task = undefined;
    if ('failure' in reply)
      task.reject(task.signal?.aborted === true ? task.signal.reason : reviveFailure(reply.failure));
    else task.resolve(reply.result);
    thread.worker.unref();
    thread.idle = setTimeout(() => void this.#end(thread, undefined), this.#idleMs).unref();
    this.#dispatch();
  }

  #cancel(task: Task): void {
    const waiting = this.#queue.indexOf(task);
    if (waiting >= 0) {
      this.#queue.splice(waiting, 1);
      return task.reject(task.signal?.reason);
    }
    for (const thread of this.#threads)
      if (thread.task === task) thread.worker.postMessage({ cancel: task.id } satisfies Request);
  }

  async #end(thread: Thread, reason: unknown): Promise<void> {
    if (!this.#threads.delete(thread)) return;
    clearTimeout(thread.idle);
    thread.task?.reject(reason);
    await thread.worker.terminate();
    if (!this.#closed) this.#dispatch();
  }
}
