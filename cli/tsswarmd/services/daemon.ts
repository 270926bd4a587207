import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { TsswarmError } from '../../../base/errors.ts';
import type { Clock } from '../../../base/clock.ts';
import type { NodeId } from '../../../base/ids.ts';
import type { OpenStore } from '../../../manager/store/index.ts';
import type { Control } from '../../../manager/control/server.ts';
import type { Engine } from '../../../node-engine/index.ts';
import type { ServiceHandlers } from '../../../proto/rpc/server.ts';
import type { daemonService } from '../../../proto/rpc/services.ts';
import type { DaemonFlags } from '../flags.ts';

/** What of the state directory belongs to the cluster and goes with it; images and volumes stay. */
const CLUSTER_STATE = ['node-id', 'manager', 'agent.state'];

export interface DaemonServiceOptions {
  readonly flags: DaemonFlags;
  readonly version: string;
  readonly nodeId: NodeId;
  readonly opened: OpenStore;
  readonly control: Control;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly startedAt: number;
  /** Ends the process, after `cleanUp` has run on what it leaves. */
  readonly stop: (cleanUp: () => void) => void;
}

/** Status and leave. */
export function daemonHandlers(options: DaemonServiceOptions): ServiceHandlers<typeof daemonService> {
  const { opened, engine, flags, nodeId } = options;
  const { store } = opened;
  return {
    status: () => {
      const raft = opened.status();
      const { kernel, cgroup, hostname } = engine.info();
      return Promise.resolve({
        nodeId,
        clusterId: store.view((tx) => tx.list('cluster')[0]?.id) ?? '',
        version: options.version,
        pid: process.pid,
        startedAt: options.startedAt,
        role: 'manager',
        raftState: raft.role,
        raftTerm: raft.term,
        raftCommit: raft.commitIndex,
        storeVersion: store.view((tx) => tx.version),
        hostname,
        kernel,
        cgroup,
        stateDir: flags.stateDir,
        containersRunning: engine.containers.list().filter(({ state }) => state === 'running').length,
        images: engine.images.list().length,
      });
    },
    async leave({ force }, signal) {
      const projects = store.view((tx) =>
        tx.list('project').filter(({ id }) => tx.find('service', 'project', id).length > 0),
      );
      if (projects.length > 0 && !force) {
        throw new TsswarmError(
          'IN_USE',
          `leaving the cluster: ${projects.map(({ name }) => `"${name}"`).join(', ')} still run here`,
          {
            hint: 'take them down with "tscompose down", or use --force',
          },
        );
      }
      const { watch } = store.viewAndWatch(() => undefined);
      try {
        for (const { name } of projects) {
          await options.control.removeProject(
            { name, removeVolumes: false, services: [], graceOverrideMs: -1 },
            signal,
          );
        }
        const left = (): number => store.view((tx) => tx.list('task').length + tx.list('network').length);
        if (left() > 0) for await (const _ of watch) if (left() === 0) break;
      } finally {
        watch.close();
      }
      options.stop(() => {
        for (const name of CLUSTER_STATE) rmSync(join(flags.stateDir, name), { recursive: true, force: true });
      });
      return {};
    },
  };
}
