import type { Service } from '../../../proto/types/index.ts';
import type { NodeClient } from '../../local-node/index.ts';
import { openDisplay } from '../../render/index.ts';
import type { ProgressRow } from '../../render/index.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import type { Terminal } from '../../terminal/index.ts';
import { ExitCode } from '../../terminal/program.ts';
import { watchProject } from '../../tscompose/project/watch.ts';
import type { ProjectWatch } from '../../tscompose/project/watch.ts';
import { judgeService, PATIENCE_MS } from './converge.ts';
import type { Convergence, Wish } from './converge.ts';

/** What has to be waited for although nothing changes is looked at so often, ms. */
const LOOK_MS = 250;

/**
 * Shows how a service becomes what its spec says, until it is and has stayed so for as long as its updates are watched.
 * @param service as it was before the change; of a new one as it was made
 * @param doing what the command does, for messages: "creating"
 * @throws ExitCode 1 after it was said what has failed; ExitCode 130 when the user interrupts: it goes on then
 */
export async function followService(
  node: NodeClient,
  service: Service,
  wish: Wish,
  doing: string,
  terminal: Terminal,
  quiet: boolean,
): Promise<void> {
  const watch = await watchProject(node.control, '', service.id);
  const interrupts = watchInterrupts();
  const mode = quiet ? 'quiet' : terminal.redraws ? 'tty' : 'plain';
  const display = openDisplay({ mode, stream: process.stderr, style: terminal.errStyle, title: 'Running' });
  const { name } = service.spec;
  try {
    const failure = await untilConverged(watch, wish, (rows) => display.update(rows), name, interrupts.first);
    display.close();
    if (failure === undefined) return;
    const { err, errStyle } = terminal;
    err(`${errStyle('red', 'error:')} ${doing} service "${name}": ${failure}\n`);
    err(`${errStyle('cyan', 'hint:')} see "tsswarm service ps ${name}"\n`);
    throw new ExitCode(1);
  } catch (error) {
    display.close();
    if (!interrupts.first.aborted || error instanceof ExitCode) throw error;
    terminal.err(`Operation continuing in background: "tsswarm service ps ${name}" shows how far it is\n`);
    throw new ExitCode(130);
  } finally {
    interrupts.close();
    watch.close();
  }
}

/** @returns why it did not get there; undefined: it did */
async function untilConverged(
  watch: ProjectWatch,
  wish: Wish,
  show: (rows: readonly ProgressRow[]) => void,
  name: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  let isSeen = false;
  let thereSince: number | undefined;
  let furthest = { done: -1, at: performance.now() };
  const look = (): { readonly failure: string | undefined } | undefined => {
    const [service] = watch.view.services.values();
    if (service === undefined) return isSeen ? { failure: 'it was removed meanwhile' } : undefined;
    isSeen = true;
    if (service.pendingDelete) return { failure: 'it is being removed' };
    const judged = judgeService(service, [...watch.view.tasks.values()], wish);
    const now = performance.now();
    if (judged.done !== furthest.done) furthest = { done: judged.done, at: now };
    thereSince = judged.isThere ? (thereSince ?? now) : undefined;
    const left = thereSince === undefined ? undefined : thereSince + judged.watchMs - now;
    show(judged.failure === undefined ? [...judged.rows, summary(judged, name, left)] : judged.rows);
    if (judged.isThere && left !== undefined && left <= 0) return { failure: judged.failure };
    if (judged.failure !== undefined && !judged.isThere) return { failure: judged.failure };
    const isLate = thereSince === undefined && now - furthest.at > PATIENCE_MS;
    return isLate ? { failure: `nothing got further for ${PATIENCE_MS / 60_000} minutes` } : undefined;
  };
  for (;;) {
    const turn = AbortSignal.timeout(LOOK_MS);
    try {
      return (await watch.until(look, AbortSignal.any([signal, turn]))).failure;
    } catch (error) {
      if (signal.aborted || !turn.aborted) throw error;
    }
  }
}

function summary({ done, wanted }: Convergence, name: string, leftMs: number | undefined): ProgressRow {
  const make = (status: string, phase: ProgressRow['phase'], detail = ''): ProgressRow => ({
    key: 'overall',
    label: `Service ${name}`,
    status,
    phase,
    detail,
    quiet: true,
  });
  if (leftMs === undefined) return make(`${done} of ${wanted} tasks`, 'working');
  if (leftMs <= 0) return make('Converged', 'done');
  return make('Verifying', 'working', `the tasks are watched for ${Math.ceil(leftMs / 1000)} more s`);
}
