import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from '../../../base/async.ts';
import { TsswarmError, isTsswarmError } from '../../../base/errors.ts';
import type { Clock, Timer } from '../../../base/clock.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { Logger } from '../../../base/log.ts';
import type { Engine } from '../../../node-engine/index.ts';
import { storeUrl } from '../../../manager/store/etcd/access.ts';
import { certificatesOf } from '../../../proto/rpc/certificate.ts';
import type { LiveIdentity } from '../../../proto/rpc/live-identity.ts';
import type { ServiceHandlers } from '../../../proto/rpc/server.ts';
import { membershipService } from '../../../proto/rpc/services.ts';
import type { daemonService } from '../../../proto/rpc/services.ts';
import type { Managers } from '../../../worker/managers/client.ts';
import type { ForceNewClusterResponse } from '../../../proto/types/index.ts';
import type { StoreFacts } from '../back-ends/back-end.ts';
import { CLUSTER_FILE } from '../cluster-file.ts';
import type { DaemonFlags } from '../flags.ts';
import { demandLostQuorum } from '../force-new-cluster.ts';
import type { Manager } from '../manager.ts';
import { clearNode } from './clear.ts';

/** What of the state directory belongs to the cluster and goes with it; images and volumes stay. */
export const CLUSTER_STATE: readonly string[] = ['node-id', 'identity', CLUSTER_FILE, 'manager', 'agent.state'];
/** How long a manager that leaves waits for another one to lead. */
const PATIENCE_MS = 10_000;
/** How long the last manager waits for its projects to end as they like. */
const TAKE_DOWN_MS = 20_000;
const RETRY_MS = 200;
/** What a worker says of the store. */
export const NO_STORE: StoreFacts = { raftState: '', raftTerm: 0, raftCommit: 0, storeVersion: 0 };

export interface DaemonServiceOptions {
  readonly flags: DaemonFlags;
  readonly version: string;
  readonly nodeId: NodeId;
  readonly identity: LiveIdentity;
  /** Undefined on a worker. */
  readonly manager: () => Manager | undefined;
  readonly managers: Managers;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly startedAt: number;
  /** What the container of a task is given to end by itself. */
  readonly graceMs: (taskId: string) => number;
  /** Ends the agent: it must not start again what goes. */
  readonly endAgent: () => Promise<void>;
  /** Why the node's certificate could not be renewed; empty: it could. */
  readonly renewalProblem: () => string;
  /** Id of the unlock key that the keys on disk need; undefined: none. */
  readonly lockedBy: () => string | undefined;
  /** Makes this manager the only one. @returns the others, which are given up */
  readonly forceNewCluster: () => Promise<ForceNewClusterResponse['managers']>;
  /** Ends the process, after `cleanUp` has run on what it leaves. */
  readonly stop: (cleanUp: () => void) => void;
}

/** Status and leave. */
export function daemonHandlers(options: DaemonServiceOptions): ServiceHandlers<typeof daemonService> {
  const { engine, flags, nodeId, identity } = options;
  return {
    async status() {
      const manager = options.manager();
      return {
        ...nodeFacts(options),
        nodeId,
        clusterId: identity.node.clusterId,
        role: identity.node.role,
        ...((await manager?.backEnd.facts()) ?? NO_STORE),
        locked: false,
        lockedBy: options.lockedBy() ?? '',
        identity: {
          expiresAt: certificatesOf(identity.current.certificate)[0]?.validToDate.getTime() ?? 0,
          renewalProblem: options.renewalProblem(),
          managerProblem: options.managers.problem(),
        },
      };
    },
    unlock: () =>
      Promise.reject(
        new TsswarmError('INVALID_INPUT', 'unlocking the node: it is not locked', { hint: 'see "tsswarm status"' }),
      ),
    async forceNewCluster(_, signal) {
      const manager = options.manager();
      if (manager === undefined) {
        throw new TsswarmError('PERMISSION_DENIED', 'forcing a new cluster: this node is a worker, not a manager', {
          hint: 'force it on a manager that is left; only managers have the state of the cluster',
        });
      }
      await demandLostQuorum(manager, nodeId, options.clock, signal);
      return { managers: await options.forceNewCluster() };
    },
    async leave({ force }, signal) {
      const manager = options.manager();
      const members = manager?.backEnd.group.status().members ?? [];
      // Where nobody knows the members, as while an external store is away, nobody knows that this is the last one.
      const alone = members.length > 0 && members.every(({ id }) => id === nodeId);
      let warning: string | undefined;
      if (manager !== undefined && alone) warning = await takeDown(manager, options, force, signal);
      else await signOff(options, manager, force, signal);
      await options.endAgent();
      await clearNode(engine, options.graceMs, options.logger);
      options.stop(() => {
        for (const name of CLUSTER_STATE) rmSync(join(flags.stateDir, name), { recursive: true, force: true });
      });
      return warning === undefined ? {} : { warning };
    },
  };
}

/** What a node says of itself, locked or not. */
export function nodeFacts({
  engine,
  flags,
  version,
  startedAt,
}: Pick<DaemonServiceOptions, 'engine' | 'flags' | 'version' | 'startedAt'>) {
  const { kernel, cgroup, hostname } = engine.info();
  return {
    version,
    pid: process.pid,
    startedAt,
    hostname: flags.nodeName || hostname,
    kernel,
    cgroup,
    stateDir: flags.stateDir,
    containersRunning: engine.containers.list().filter(({ state }) => state === 'running').length,
    images: engine.images.list().length,
  };
}

/** The last manager goes, and the cluster with it. @returns what the user should know of it */
async function takeDown(
  { backEnd, control }: Manager,
  { clock, logger }: DaemonServiceOptions,
  force: boolean,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { store } = backEnd;
  const projects = store.view((tx) =>
    tx.list('project').filter(({ id }) => tx.find('service', 'project', id).length > 0),
  );
  // Those that were made by command belong to none.
  const services = store.view((tx) => tx.list('service').filter(({ projectId }) => projectId === ''));
  if (!force) {
    const names = [...projects.map(({ name }) => name), ...services.map(({ spec }) => spec.name)]
      .map((name) => `"${name}"`)
      .join(', ');
    throw new TsswarmError(
      'IN_USE',
      `leaving the cluster: this is the last manager, without it the cluster is gone${names === '' ? '' : `, and ${names} still run`}`,
      { hint: 'use --force to give the cluster up; containers are removed, images and volumes kept' },
    );
  }
  const { watch } = store.viewAndWatch(() => undefined);
  let timer: Timer | undefined;
  try {
    for (const { name } of projects) {
      const request = { name, removeVolumes: false, services: [], graceOverrideMs: -1 };
      await control.removeProject(request, signal, { kind: 'local' });
    }
    for (const { id } of services) await control.removeService({ serviceId: id }, signal, { kind: 'local' });
    // Only what runs here can be waited for: other nodes are left without a manager in any case.
    const left = (): number =>
      store.view(
        (tx) => tx.list('task').length + tx.list('network').filter(({ projectId }) => projectId !== '').length,
      );
    const others = store.view((tx) => tx.list('node').length > 1);
    // What does not go by itself in time is taken away afterwards.
    timer = clock.startTimer(TAKE_DOWN_MS, () => {
      const tasks = store.view((tx) =>
        tx.list('task').map(({ name, desiredState, status }) => `${name} ${desiredState} ${status.state}`),
      );
      const networks = store.view((tx) => tx.list('network').map(({ spec }) => spec.name));
      logger.warn('leaving before everything has ended by itself', {
        tasks: tasks.join(', '),
        networks: networks.join(', '),
      });
      watch.close();
    });
    if (!others && left() > 0) for await (const _ of watch) if (left() === 0) break;
    await backEnd.giveUp();
    return undefined;
  } catch (error) {
    // Whoever gives the cluster up does not need its store for it.
    if (!isTsswarmError(error) || !error.retryable) throw error;
    logger.warn('leaving without the store', { reason: error.message });
    const access = backEnd.access();
    if (access === undefined) throw error;
    return `what the cluster has in "${storeUrl(access)}" is still there (${error.message}); remove it when etcd is back: etcdctl del --prefix ${access.prefix}`;
  } finally {
    timer?.cancel();
    watch.close();
  }
}

/** Has the node taken out of the cluster; by force it goes also when nobody can be asked. */
async function signOff(
  { nodeId, identity, clock, managers, logger }: DaemonServiceOptions,
  manager: Manager | undefined,
  force: boolean,
  signal: AbortSignal,
): Promise<void> {
  const caller = { kind: 'node', ...identity.node } as const;
  const request = { nodeId, force };
  const deadline = clock.monotonic() + PATIENCE_MS;
  for (;;) {
    try {
      if (manager === undefined) await managers.connection().service(membershipService).leave(request, signal);
      else await manager.membership.leave(request, signal, caller);
      return;
    } catch (error) {
      // The leader hands over before it goes: the next try reaches the new one.
      const waits = isTsswarmError(error) && (error.retryable || error.code === 'OUTCOME_UNKNOWN');
      const refused = isTsswarmError(error, 'CONFLICT');
      if (waits && !refused && clock.monotonic() < deadline) {
        await sleep(clock, RETRY_MS, signal);
        continue;
      }
      // Who was removed already is refused.
      if (!force && !isTsswarmError(error, 'PERMISSION_DENIED')) throw error;
      logger.warn('leaving without a word to the managers', { reason: String(error) });
      return;
    }
  }
}
