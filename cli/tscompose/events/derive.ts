import { isFinal } from '../../../manager/model/task-state.ts';
import type { ContainerSummary, Task } from '../../../proto/types/index.ts';

/** Something that has happened to a container, as `docker compose events` tells it. */
export interface ContainerEvent {
  /** ms since the epoch. */
  readonly at: number;
  /** "create", "start", "die", "oom", "health_status: healthy", "stop", "destroy" */
  readonly action: string;
  readonly containerId: string;
  readonly service: string;
  readonly attributes: Readonly<Record<string, string>>;
}

/** What has happened to a task's container between two sights of it. @param now wall time, ms, for what has no time of its own */
export function eventsBetween(
  before: Task | undefined,
  after: Task | undefined,
  now: number,
): readonly ContainerEvent[] {
  const task = after ?? before;
  if (task === undefined) return [];
  const containerId = after?.status.containerId || before?.status.containerId || '';
  if (containerId === '') return [];
  const at = after === undefined ? now : after.status.timestamp || now;
  const say = (action: string, attributes: Readonly<Record<string, string>> = {}): ContainerEvent => ({
    at,
    action,
    containerId,
    service: serviceOf(task),
    attributes: { ...attributes, image: task.spec.container.image, name: task.name },
  });
  if (after === undefined) return before !== undefined && before.status.state !== 'remove' ? [say('destroy')] : [];
  const events: ContainerEvent[] = [];
  const old = before?.status;
  const { status } = after;
  const isNewRun = old === undefined || old.restartCount !== status.restartCount;
  if ((old?.containerId ?? '') === '') events.push(say('create'));
  if (hasRun(after) && (isNewRun || before === undefined || !hasRun(before))) events.push(say('start'));
  if (status.health !== 'none' && status.health !== old?.health) events.push(say(`health_status: ${status.health}`));
  const hasEnded = isFinal(after) && status.exitCode !== undefined;
  if (hasEnded && (isNewRun || before === undefined || !isFinal(before))) {
    if (/out of memory/i.test(status.error)) events.push(say('oom'));
    events.push(say('die', { exitCode: String(status.exitCode) }));
    if (after.desiredState !== 'running') events.push(say('stop'));
  }
  if (status.state === 'remove' && old !== undefined && old.state !== 'remove') events.push(say('destroy'));
  return events;
}

/** What a container that is still there has gone through, as far as its node and its task know. */
export function eventsOf(
  task: Task,
  { containerId, createdAt, startedAt, finishedAt }: ContainerSummary,
): readonly ContainerEvent[] {
  const attributes = { image: task.spec.container.image, name: task.name };
  const say = (at: number, action: string, more: Readonly<Record<string, string>> = {}): readonly ContainerEvent[] =>
    at === 0 ? [] : [{ at, action, containerId, service: serviceOf(task), attributes: { ...more, ...attributes } }];
  const { exitCode } = task.status;
  return [
    ...say(createdAt, 'create'),
    ...say(startedAt, 'start'),
    ...(exitCode === undefined ? [] : say(finishedAt, 'die', { exitCode: String(exitCode) })),
  ];
}

/** A line for people, with the machine's own time: "2026-01-31 12:00:00.123456 container start 3f… (image=busybox, name=shop-web-1)". */
export function eventLine({ at, action, containerId, attributes }: ContainerEvent): string {
  const time = new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString();
  const words = Object.entries(attributes)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  return `${time.slice(0, 10)} ${time.slice(11, 23)}000 container ${action} ${containerId} (${words.join(', ')})\n`;
}

/** A line for machines, with the keys of Compose. */
export function eventJson({ at, action, containerId, service, attributes }: ContainerEvent): string {
  const time = new Date(at).toISOString();
  return `${JSON.stringify({ action, attributes, id: containerId, service, time, type: 'container' })}\n`;
}

const serviceOf = ({ spec, name }: Task): string => spec.container.labels['com.docker.compose.service'] ?? name;

function hasRun({ status }: Task): boolean {
  return status.state === 'running' || status.exitCode !== undefined;
}
