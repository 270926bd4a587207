import { isOpenPort } from '../../../base/published-port.ts';
import { willRestart } from '../../../manager/model/restart.ts';
import { isFinal } from '../../../manager/model/task-state.ts';
import type { ContainerSummary, PublishedPort, Service, Task } from '../../../proto/types/index.ts';
import { durationWords } from '../../render/duration.ts';

/** Words of Docker's container states, which scripts filter by. */
export type StateWord = 'created' | 'running' | 'restarting' | 'exited' | 'dead';

/** A task's state in Docker's words: "dead" is what could not be started. */
export function stateWord(task: Task): StateWord {
  if (task.status.state === 'rejected' || task.status.state === 'orphaned') return 'dead';
  if (isFinal(task)) return 'exited';
  if (task.status.state === 'running') return task.restartCount > task.status.restartCount ? 'restarting' : 'running';
  return task.predecessor === '' && task.attempt === 0 ? 'created' : 'restarting';
}

/**
 * "Up 5 minutes (healthy)", "Exited (0) 3 seconds ago", or why it does not run, in one line.
 * @param now wall time, ms
 */
export function describeState(
  task: Task,
  now: number,
  summary?: Pick<ContainerSummary, 'startedAt' | 'finishedAt'>,
): string {
  const { status } = task;
  // The last report may be about something else, such as health: the node knows when it began and ended.
  const own = stateWord(task) === 'running' ? summary?.startedAt : summary?.finishedAt;
  const since = durationWords(Math.max(0, now - (own || status.timestamp)));
  switch (stateWord(task)) {
    case 'running': {
      const health = status.health === 'starting' ? 'health: starting' : status.health;
      return `Up ${lowerFirst(since)}${status.health === 'none' ? '' : ` (${health})`}${appliedWords(task)}`;
    }
    case 'exited': {
      const reason = status.error === '' || status.error === 'task: non-zero exit' ? '' : `: ${status.error}`;
      const again = willRestart(task) ? ', restarting' : '';
      const code = status.exitCode === undefined ? '' : ` (${status.exitCode})`;
      return `Exited${code} ${lowerFirst(since)} ago${again}${reason}`;
    }
    case 'dead':
      return `Not started: ${status.error || status.message}`;
    case 'restarting': {
      const waits = task.notBefore > now ? ` in ${Math.ceil((task.notBefore - now) / 1000)} s` : '';
      return `Restarting${waits}`;
    }
    case 'created':
      return task.held || isTelling(status.message) ? `Created (${status.message})` : 'Created';
  }
}

/** That a running container was changed, or could not be and was replaced. Replacements that no container can escape are not told. */
function appliedWords({ status: { applied } }: Task): string {
  if (applied?.how === 'live') return ', updated live';
  const isRefusal = applied?.how === 'replaced' && !/^(task\.|a job |its service )/.test(applied.reason);
  return isRefusal && applied.reason !== '' ? `, replaced: ${applied.reason}` : '';
}

/** Messages of steps that pass in an instant say nothing to anybody. */
export const isTelling = (message: string): boolean =>
  !['', 'created', 'allocated', 'assigned', 'accepted', 'preparing', 'prepared', 'starting'].includes(message);

/** "0.0.0.0:8080->80/tcp", as `docker ps` prints ports. */
export function portsOf(service: Service, task: Task): string {
  return publishedBy(service, task)
    .map(({ hostIp, published, target, protocol }) => `${hostIp || '0.0.0.0'}:${published}->${target}/${protocol}`)
    .join(', ');
}

/** Where a port of a container is published, with the names that Compose uses. */
export interface Publisher {
  readonly URL: string;
  readonly TargetPort: number;
  readonly PublishedPort: number;
  readonly Protocol: string;
}

/** The same for machines. */
export function publishersOf(service: Service, task: Task): readonly Publisher[] {
  return publishedBy(service, task).map(({ hostIp, published, target, protocol }) => ({
    URL: hostIp || '0.0.0.0',
    TargetPort: target,
    PublishedPort: published,
    Protocol: protocol,
  }));
}

function publishedBy(service: Service, task: Task): readonly PublishedPort[] {
  if (isFinal(task)) return [];
  const own = task.ports.filter((port) => !isOpenPort(port));
  return task.oneOff ? own : [...service.ports.filter(({ mode }) => mode === 'ingress'), ...own];
}

const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1);
