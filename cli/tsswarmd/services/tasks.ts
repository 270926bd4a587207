import { sleep } from '../../../base/async.ts';
import type { Clock } from '../../../base/clock.ts';
import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import type { ContainerId } from '../../../base/ids.ts';
import type { Containers, InspectableEngine, OutputChunk, ProcessSession } from '../../../node-engine/index.ts';
import type { ServiceHandlers } from '../../../proto/rpc/server.ts';
import type { tasksService } from '../../../proto/rpc/services.ts';
import type {
  AttachStart,
  DoctorCheck,
  Drift,
  OverlayPeer,
  ProcessInput,
  ProcessOutput,
  RotateKeyResponse,
  TaskStatus,
} from '../../../proto/types/index.ts';
import { TASK_ID_LABEL, containerIdOf } from '../../../worker/agent/index.ts';
import { copyFrom, copyTo, statPath } from './files.ts';
import { logMessages } from './log-entries.ts';

/**
 * Logs, exec and attach of the tasks on this node.
 * @param doctor looks for faults in the node's network
 * @param rotateKey begins to rotate the key of the node's encrypted networks
 * @param look looks now what somebody has changed by hand on the containers of tasks
 * @param whenStarted resolves when the task's container has been started, or never will be
 */
export function tasksHandlers(
  { containers, inspection }: Pick<InspectableEngine, 'containers' | 'inspection'>,
  clock: Clock,
  whenStarted: (taskId: string, signal: AbortSignal) => Promise<TaskStatus>,
  doctor: (peers: readonly OverlayPeer[], signal: AbortSignal) => Promise<readonly DoctorCheck[]>,
  rotateKey: () => Promise<RotateKeyResponse['result']>,
  look: (taskIds: readonly string[]) => Promise<ReadonlyMap<string, readonly Drift[]>>,
): ServiceHandlers<typeof tasksService> {
  const demand = (taskId: string) => {
    const id = containerIdOf(taskId);
    if (containers.inspect(id) !== undefined) return id;
    throw new TsswarmError('NOT_FOUND', `finding the container of task "${taskId}": there is none on this node`);
  };
  return {
    async containers({ taskIds = [], look: looks = false }) {
      const drifts = looks ? await look(taskIds) : undefined;
      const all = containers.list().map(({ id, labels, argv, createdAt, startedAt, finishedAt }) => ({
        taskId: labels[TASK_ID_LABEL] ?? '',
        containerId: id,
        argv,
        createdAt,
        startedAt,
        finishedAt,
      }));
      const wanted = new Set(taskIds);
      const summaries = wanted.size === 0 ? all : all.filter(({ taskId }) => wanted.has(taskId));
      return {
        containers:
          drifts === undefined ? summaries : summaries.map((one) => ({ ...one, drifts: drifts.get(one.taskId) ?? [] })),
      };
    },
    doctor: async ({ probe, peers = [] }, signal) => ({ checks: await doctor(probe ? peers : [], signal) }),
    rotateKey: async () => ({ result: await rotateKey() }),
    async *logs({ taskId, follow, tail, since, until }, signal) {
      yield* logMessages(containers.logs(demand(taskId), { follow, tail, since, until }, signal));
    },
    async *exec(inputs, signal) {
      const { first, rest } = await open(inputs);
      const { exec } = first;
      if (exec === undefined)
        throw new TsswarmError('INVALID_INPUT', 'executing: the first message is not the command');
      const session = await containers.exec(demand(exec.taskId), exec);
      if (exec.detach) {
        void discard(session);
        yield { exit: { code: 0, oomKilled: false } };
        return;
      }
      yield* relay(session, session.output, rest, signal);
    },
    async *attach(inputs, signal) {
      const { first, rest } = await open(inputs);
      const { attach } = first;
      if (attach === undefined)
        throw new TsswarmError('INVALID_INPUT', 'attaching: the first message does not name the task');
      if (attach.wait === true) {
        const status = await whenStarted(attach.taskId, signal);
        if (status.state === 'rejected') {
          throw new TsswarmError('RUNTIME_FAILED', status.error);
        }
      }
      yield* attachTo(containers, demand(attach.taskId), attach, rest, signal);
    },
    top: ({ taskId }) => answered(() => inspection.processes(demand(taskId))),
    async *stats({ taskId, intervalMs }, signal) {
      const id = demand(taskId);
      for (;;) {
        const sample = { atMs: clock.monotonic(), ...inspection.usage(id) };
        yield sample;
        if (intervalMs === 0) return;
        await sleep(clock, Math.max(intervalMs, SHORTEST_INTERVAL_MS), signal);
        // A container that has ended uses nothing any more: the stream ends with it.
        if (containers.inspect(id)?.state !== 'running') return;
      }
    },
    statPath: (request) => statPath(inspection, demand(request.taskId), request),
    copyFrom: (request, signal) => copyFrom(inspection, () => demand(request.taskId), request, signal),
    copyTo: (inputs, signal) => copyTo(inspection, demand, inputs, signal),
  };
}

const SHORTEST_INTERVAL_MS = 100;

/** What a function returns or throws, as a promise. */
async function answered<T>(answer: () => T): Promise<T> {
  return answer();
}

/**
 * Connects to a running container, or tells what an ended one has said. With `replay` what it has said before comes first,
 * nothing twice and nothing left out: then a container without a terminal is read from its log, which has every line.
 */
async function* attachTo(
  containers: Containers,
  id: ContainerId,
  { replay, size }: AttachStart,
  inputs: AsyncIterator<ProcessInput>,
  signal: AbortSignal,
): AsyncIterable<ProcessOutput> {
  const container = containers.inspect(id);
  const logged = (follow: boolean) => containers.logs(id, { follow, tail: -1, since: 0, until: 0 }, signal);
  let session: ProcessSession | undefined;
  try {
    session = await containers.attach(id);
  } catch (error) {
    if (!isTsswarmError(error, 'CONTAINER_NOT_RUNNING') || containers.inspect(id)?.state === 'created') throw error;
  }
  if (session === undefined) {
    // It has ended, or is just about to be known to have.
    const { code, oomKilled } = await containers.wait(id, signal);
    if (replay) yield* asMessages(logged(false));
    yield { exit: { code, oomKilled } };
    return;
  }
  if (size !== undefined) session.resize(size);
  if (!replay) return yield* relay(session, session.output, inputs, signal);
  if (container?.tty !== true) {
    void discard(session);
    return yield* relay(session, logged(true), inputs, signal);
  }
  yield* asMessages(logged(false));
  // A program that has drawn its prompt already draws it again for a terminal of another size.
  if (size !== undefined) {
    session.resize({ ...size, rows: size.rows + 1 });
    session.resize(size);
  }
  yield* relay(session, session.output, inputs, signal);
}

async function open(inputs: AsyncIterable<ProcessInput>) {
  const rest = inputs[Symbol.asyncIterator]();
  const first = await rest.next();
  if (first.done === true) throw new TsswarmError('CANCELLED', 'starting a process session: the caller is gone');
  return { first: first.value, rest };
}

/** Output to the caller, the caller's input to the process, then its exit. */
async function* relay(
  session: ProcessSession,
  output: AsyncIterable<OutputChunk>,
  inputs: AsyncIterator<ProcessInput>,
  signal: AbortSignal,
): AsyncIterable<ProcessOutput> {
  const leave = (): void => session.close();
  signal.addEventListener('abort', leave, { once: true });
  void feed(session, inputs, signal).catch(() => undefined);
  try {
    yield* asMessages(output);
    const { code, oomKilled } = await session.exit;
    yield { exit: { code, oomKilled } };
  } finally {
    signal.removeEventListener('abort', leave);
    session.close();
  }
}

async function* asMessages(output: AsyncIterable<OutputChunk>): AsyncIterable<ProcessOutput> {
  for await (const { stream, data } of output) yield stream === 'stdout' ? { stdout: data } : { stderr: data };
}

/** Lets a process go on whose output nobody wants. */
async function discard(session: ProcessSession): Promise<void> {
  try {
    for await (const _ of session.output);
  } catch {
    // Its end is told elsewhere.
  }
}

async function feed(session: ProcessSession, inputs: AsyncIterator<ProcessInput>, gone: AbortSignal): Promise<void> {
  for (;;) {
    const next = await inputs.next();
    // Whoever goes away has not said that this was all.
    if (next.done === true) return gone.aborted ? undefined : session.closeStdin();
    const { stdin, closeStdin, resize, signal } = next.value;
    if (stdin !== undefined) await session.write(stdin);
    else if (closeStdin === true) session.closeStdin();
    else if (resize !== undefined) session.resize(resize);
    else if (signal !== undefined) session.kill(signal);
  }
}
