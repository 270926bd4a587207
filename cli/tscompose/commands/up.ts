import { TsswarmError } from '../../../base/errors.ts';
import type { ComposeProject } from '../../../compose/index.ts';
import type { ApplyProjectRequest, ApplyProjectResponse } from '../../../proto/types/index.ts';
import { authorOf } from '../../local-node/author.ts';
import type { NodeClient } from '../../local-node/index.ts';
import { ExitCode } from '../../terminal/program.ts';
import { watchInterrupts } from '../../terminal/interrupts.ts';
import { attach, stopAttached } from '../attached/attach.ts';
import type { AttachOptions } from '../attached/attach.ts';
import type { Context } from '../context.ts';
import type { UpGoal, UpPlan } from '../progress/up.ts';
import {
  demandServices,
  desiredProject,
  parseScale,
  selectServices,
  servicesWithNewImage,
  withoutDependencies,
} from '../project/desired.ts';
import { provideImages } from '../project/images.ts';
import type { ImageOptions } from '../project/images.ts';
import { showUp, failUp } from '../project/progress.ts';
import type { ProjectWatch } from '../project/watch.ts';
import { watchProject } from '../project/watch.ts';
import { renderPlan } from '../progress/dry-run.ts';

export interface UpOptions extends ImageOptions {
  readonly detach?: boolean;
  readonly forceRecreate?: boolean;
  /** false with `--no-recreate`. */
  readonly recreate: boolean;
  /** false with `--no-deps`. */
  readonly deps: boolean;
  /** false with `--no-start`. */
  readonly start: boolean;
  readonly scale?: readonly string[];
  readonly removeOrphans?: boolean;
  readonly timeout?: string;
  readonly wait?: boolean;
  readonly waitTimeout?: string;
  readonly abortOnContainerExit?: boolean;
  readonly abortOnContainerFailure?: boolean;
  readonly exitCodeFrom?: string;
  /** Names after `--attach`. */
  readonly attach?: readonly string[];
  readonly noAttach?: readonly string[];
  readonly attachDependencies?: boolean;
  /** false with `--no-color`. */
  readonly color: boolean;
  /** false with `--no-log-prefix`. */
  readonly logPrefix: boolean;
  readonly timestamps?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  /** Return when the managers have it: do not wait for containers. */
  readonly unwatched?: boolean;
}

/** Brings a project up. */
export async function up(context: Context, names: readonly string[], options: UpOptions): Promise<void> {
  refuseContradictions(options);
  context.expectNode();
  const project = await context.loadProject(names);
  const services = selectServices(project, names, options.deps);
  const mentioned = [...(options.attach ?? []), ...(options.noAttach ?? [])];
  demandServices(project, options.exitCodeFrom === undefined ? mentioned : [...mentioned, options.exitCodeFrom]);
  if (services.size === 0) {
    throw new TsswarmError('INVALID_INPUT', `bringing up project "${project.name}": no service is selected`, {
      hint:
        project.disabled.length === 0
          ? 'the compose file has no services'
          : `activate a profile with --profile: ${project.profiles.join(', ')}`,
    });
  }
  const scale = parseScale(options.scale ?? []);
  const { desired, builds } = await desiredProject(context, project, scale);
  const node = await context.openOrStartNode(options.yes === true);
  const watch = await watchProject(node.control, project.name);
  try {
    const chosenBuilds = builds.filter(({ service }) => services.has(service));
    if (options.dryRun !== true) await provideImages(context, node, services, project, chosenBuilds, options);
    const request: ApplyProjectRequest = {
      project: options.deps ? desired : withoutDependencies(desired, services),
      dryRun: options.dryRun === true,
      removeOrphans: options.removeOrphans === true,
      forceRecreate: await toRecreate(node, project, names, services, watch, options),
      onlyServices: names.length === 0 && options.deps ? [] : [...services.keys()],
      noRecreate: !options.recreate,
      noStart: !options.start,
      author: authorOf(context.command ?? 'tscompose up'),
    };
    if (options.dryRun === true) {
      const answer = await node.control.applyProject(request);
      context.terminal.out(renderPlan(answer, context.terminal.outStyle));
      return;
    }
    await bringUp(context, node, watch, project, names, services, request, options);
  } finally {
    watch.close();
    node.close();
  }
}

async function bringUp(
  context: Context,
  node: NodeClient,
  watch: ProjectWatch,
  project: ComposeProject,
  names: readonly string[],
  services: ReadonlyMap<string, unknown>,
  request: ApplyProjectRequest,
  options: UpOptions,
): Promise<void> {
  const attached = options.detach !== true && options.wait !== true && options.start;
  const before = new Map(watch.view.tasks);
  const updatesBefore = new Map(
    [...watch.view.services.values()].flatMap(({ id, updateStatus }) =>
      updateStatus === undefined ? [] : [[id as string, updateStatus] as const],
    ),
  );
  const known = new Set<string>(watch.view.services.keys());
  const beforeAt = Date.now();
  const answer = await node.control.applyProject(request);
  for (const warning of answer.warnings) context.warn(warning);
  warnOfOrphans(context, project.name, answer);
  if (options.unwatched === true) return;
  const goal: UpGoal = options.wait === true ? 'healthy' : attached ? 'created' : 'started';
  const plan = {
    ...planOf([...services.keys()], goal, answer, before),
    updatesBefore,
    isTakenDown: takenDown(answer, known),
  };
  const interrupts = watchInterrupts();
  const only =
    options.attach ?? (names.length > 0 && options.attachDependencies !== true ? names : [...services.keys()]);
  const shown = only.filter((name) => options.noAttach?.includes(name) !== true);
  const attachOptions: AttachOptions = {
    project: project.name,
    services: [...services.keys()],
    shown: new Set(shown),
    before,
    beforeAt,
    interrupts,
    graceMs: options.timeout === undefined ? -1 : seconds(options.timeout, '--timeout') * 1000,
    color: options.color,
    logPrefix: options.logPrefix,
    timestamps: options.timestamps === true,
    abortOn: options.abortOnContainerFailure === true ? 'failure' : wantsAbort(options) ? 'exit' : 'never',
    ...(options.exitCodeFrom === undefined ? {} : { exitCodeFrom: options.exitCodeFrom }),
  };
  try {
    const timeout = options.waitTimeout === undefined ? undefined : seconds(options.waitTimeout, '--wait-timeout');
    const failures = await showUp(context, watch, plan, waitSignal(interrupts.first, timeout));
    if (failures.length > 0) failUp(context, failures);
    if (!attached) return;
    const code = await attach(context, node, watch, attachOptions);
    if (code !== 0) throw new ExitCode(code);
  } catch (error) {
    if (!interrupts.first.aborted || error instanceof ExitCode) throw error;
    if (attached) {
      context.terminal.err('Gracefully stopping... (press Ctrl+C again to force)\n');
      await stopAttached(context, node, watch, attachOptions);
    }
    throw new ExitCode(130);
  } finally {
    interrupts.close();
  }
}

const wantsAbort = (options: UpOptions): boolean =>
  options.abortOnContainerExit === true || options.exitCodeFrom !== undefined;

/** What is waited for after a change of a project. */
export function planOf(
  services: readonly string[],
  goal: UpGoal,
  answer: ApplyProjectResponse,
  before: UpPlan['before'],
): UpPlan {
  const changed = new Set(
    answer.changes
      .filter(({ kind, action }) => kind === 'service' && ['create', 'update', 'replace'].includes(action))
      .map(({ name }) => name),
  );
  const removed = answer.changes.filter(({ kind, action }) => kind === 'service' && action === 'remove');
  return {
    services,
    goal,
    changes: answer.changes,
    before,
    caughtUp: (view) =>
      [...changed].every((name) => (view.service(name)?.revision ?? 0) >= answer.revision) &&
      removed.every(({ name }) => view.service(name) === undefined),
  };
}

/**
 * Tells when a service that was seen as it was asked for is there no more.
 * @param known ids of the services that were there before: one that is made anew is none of these
 */
function takenDown(
  { changes, revision }: ApplyProjectResponse,
  known: ReadonlySet<string>,
): NonNullable<UpPlan['isTakenDown']> {
  const actions = new Map(changes.flatMap(({ kind, name, action }) => (kind === 'service' ? [[name, action]] : [])));
  const seen = new Set<string>();
  return (name, view) => {
    const service = view.service(name);
    if (service === undefined) return seen.has(name);
    const action = actions.get(name) ?? 'none';
    const isIt = action === 'create' ? !known.has(service.id) : action === 'none' || service.revision >= revision;
    if (isIt) seen.add(name);
    return false;
  };
}

async function toRecreate(
  node: NodeClient,
  project: ComposeProject,
  names: readonly string[],
  services: ReadonlyMap<string, ComposeProject['services'][string]>,
  watch: ProjectWatch,
  options: UpOptions,
): Promise<readonly string[]> {
  // Of named services the dependencies are left alone, as Compose does.
  if (options.forceRecreate === true) return names.length > 0 ? names : [...services.keys()];
  if (!options.recreate) return [];
  return servicesWithNewImage(node, project, services, watch.view);
}

function warnOfOrphans(context: Context, project: string, answer: ApplyProjectResponse): void {
  if (/^(1|true)$/i.test(process.env['COMPOSE_IGNORE_ORPHANS'] ?? '')) return;
  const orphans = answer.changes.filter(({ kind, action }) => kind === 'service' && action === 'orphan');
  if (orphans.length === 0) return;
  context.warn(
    `project "${project}" has services that the compose file does not (orphans): ${orphans.map(({ name }) => name).join(', ')}; ` +
      'if you renamed or removed them, clean up with --remove-orphans',
  );
}

function refuseContradictions(options: UpOptions): void {
  const refuse = (message: string): never => {
    throw new TsswarmError('INVALID_INPUT', message);
  };
  if (options.forceRecreate === true && !options.recreate) {
    refuse('using --force-recreate with --no-recreate: they exclude each other');
  }
  const detached = options.detach === true ? '--detach' : options.wait === true ? '--wait' : undefined;
  const needsLogs = wantsAbort(options) || options.abortOnContainerFailure === true || options.attach !== undefined;
  if (detached !== undefined && needsLogs) {
    refuse(`using ${detached} with --abort-on-container-exit, --exit-code-from or --attach: they need the terminal`);
  }
}

/** Aborts when `signal` does, or after some seconds. */
function waitSignal(signal: AbortSignal, afterSeconds: number | undefined): AbortSignal {
  if (afterSeconds === undefined) return signal;
  const late = new AbortController();
  const timer = setTimeout(
    () =>
      late.abort(
        new TsswarmError('DEADLINE_EXCEEDED', `waiting for the project: not all is running after ${afterSeconds} s`, {
          hint: 'see "tscompose ps -a" and "tscompose logs"',
        }),
      ),
    afterSeconds * 1000,
  );
  timer.unref();
  return AbortSignal.any([signal, late.signal]);
}

/** A flag's whole or broken number of seconds. @throws INVALID_INPUT */
export function seconds(text: string, flag: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new TsswarmError('INVALID_INPUT', `using ${flag} "${text}": expected a number of seconds`);
}
