import { TsswarmError, isTsswarmError } from '../../../../base/errors.ts';
import type { Service, UpdateServiceResponse } from '../../../../proto/types/index.ts';
import { authorOf } from '../../../local-node/author.ts';
import type { NodeClient, NodePlace } from '../../../local-node/index.ts';
import type { Terminal } from '../../../terminal/index.ts';
import { renderEffects } from '../../../tscompose/progress/dry-run.ts';
import { environmentWords } from '../../../tscompose/containers/environment.ts';
import { withNode } from '../../nodes/with-node.ts';
import { pickService } from '../find.ts';
import { updatedLists } from '../flags/options.ts';
import { updatedSpec } from '../flags/spec.ts';
import type { UpdateFlags } from '../flags/spec.ts';
import { count } from '../flags/values.ts';
import { followService } from '../follow.ts';

export interface FollowOptions {
  readonly detach?: boolean;
  readonly quiet?: boolean;
}

export interface UpdateOptions extends UpdateFlags, FollowOptions {
  readonly rollback?: boolean;
  readonly dryRun?: boolean;
}

/** A change is made again on top of what somebody else has changed meanwhile, so often. */
const MOST_TRIES = 20;

/** `tsswarm service update`: prints the name, and waits until the service is what was asked for. */
export function updateService(
  place: NodePlace,
  name: string,
  options: UpdateOptions,
  terminal: Terminal,
): Promise<void> {
  if (options.rollback === true) {
    const { rollback: _, detach: _detach, quiet: _quiet, ...others } = options;
    if (Object.keys(others).length > 0)
      throw new TsswarmError('INVALID_INPUT', 'using --rollback with other flags: expected it alone');
    return rollbackService(place, name, options, terminal);
  }
  const given = updatedLists({ ...options });
  const lists = { ...given, env: { ...given.env, add: environmentWords(given.env?.add ?? [], process.env) } };
  const author = authorOf('tsswarm service update');
  return withNode(place, async (node) => {
    const service = await find(node, name);
    const answer = await changeService(node, service, (now) =>
      node.control.updateService({
        serviceId: now.id,
        version: now.meta.version,
        spec: updatedSpec(now.spec, options, lists),
        author,
        ...(options.dryRun === true ? { dryRun: true } : {}),
      }),
    );
    if (options.dryRun === true) {
      terminal.out(renderEffects(answer.answer.effects ?? []));
      return;
    }
    terminal.out(`${name}\n`);
    await follow(node, answer, { options, rollback: false, doing: 'updating' }, terminal);
  });
}

/** `tsswarm service rollback`: back to the specification before. */
export function rollbackService(
  place: NodePlace,
  name: string,
  options: FollowOptions,
  terminal: Terminal,
): Promise<void> {
  const author = authorOf('tsswarm service rollback');
  return withNode(place, async (node) => {
    const answer = await changeService(node, await find(node, name), (now) =>
      node.control.rollbackService({ serviceId: now.id, version: now.meta.version, author }),
    );
    terminal.out(`${name}\n`);
    await follow(node, answer, { options, rollback: true, doing: 'rolling back' }, terminal);
  });
}

/** `tsswarm service scale`: all are scaled first, then waited for, one after the other. */
export function scaleServices(
  place: NodePlace,
  scales: readonly string[],
  options: FollowOptions,
  terminal: Terminal,
): Promise<void> {
  const wanted = scales.map((text) => {
    const [, name, replicas] = /^(.+)=(.*)$/.exec(text) ?? [];
    if (name === undefined || replicas === undefined || replicas === '')
      throw new TsswarmError('INVALID_INPUT', `invalid scale specifier '${text}': expected SERVICE=REPLICAS`);
    return { name, replicas: count(text, replicas) };
  });
  const author = authorOf('tsswarm service scale');
  return withNode(place, async (node) => {
    const { services } = await node.control.listObjects({ project: '' });
    const found = wanted.map(({ name, replicas }) => ({ service: pickService(services, name), name, replicas }));
    for (const { service, name } of found) demandScalable(service, name);
    const changed: Changed[] = [];
    for (const { service, name, replicas } of found) {
      changed.push(
        await changeService(node, service, (now) =>
          node.control.updateService({
            serviceId: now.id,
            version: now.meta.version,
            spec: { ...now.spec, replicas },
            author,
          }),
        ),
      );
      terminal.out(`${name} scaled to ${replicas}\n`);
    }
    for (const one of changed) await follow(node, one, { options, rollback: false, doing: 'scaling' }, terminal);
  });
}

function demandScalable({ spec }: Service, name: string): void {
  const mode = spec.mode ?? 'replicated';
  if (mode === 'replicated' || mode === 'replicated-job') return;
  throw new TsswarmError(
    'INVALID_INPUT',
    `${name}: scale can only be used with replicated or replicated-job mode: it is ${mode}`,
  );
}

const find = async (node: NodeClient, name: string): Promise<Service> =>
  pickService((await node.control.listObjects({ project: '' })).services, name);

/** A service that was changed. */
export interface Changed {
  /** As it was when it was changed. */
  readonly before: Service;
  readonly answer: UpdateServiceResponse;
}

/** Changes a service; when somebody else was quicker, again on top of that. */
export async function changeService(
  node: NodeClient,
  service: Service,
  change: (now: Service) => Promise<UpdateServiceResponse>,
): Promise<Changed> {
  let before = service;
  for (let tries = 1; ; tries++) {
    try {
      return { before, answer: await change(before) };
    } catch (error) {
      if (!isTsswarmError(error, 'CONFLICT') || tries === MOST_TRIES) throw error;
      const [now] = (await node.control.listObjects({ project: '', serviceId: service.id })).services;
      if (now === undefined) throw error;
      before = now;
    }
  }
}

/** Says what a change warns of, and waits until the service is what was asked for, unless that is not wanted. */
export async function follow(
  node: NodeClient,
  { before, answer }: Changed,
  how: { readonly options: FollowOptions; readonly rollback: boolean; readonly doing: string },
  terminal: Terminal,
): Promise<void> {
  for (const warning of answer.warnings) terminal.err(`${terminal.errStyle('yellow', 'warning:')} ${warning}\n`);
  const { options, rollback, doing } = how;
  if (options.detach === true) return;
  const wish = {
    versionBefore: before.specVersion,
    ...(before.updateStatus === undefined ? {} : { updateBefore: before.updateStatus }),
    rollback,
  };
  await followService(node, before, wish, doing, terminal, options.quiet === true);
}
