import { messageOf } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { Engine } from '../../../node-engine/index.ts';
import { TASK_ID_LABEL } from '../../../worker/agent/index.ts';

/**
 * Takes away everything that ran on a node that leaves: containers, networks, port rules. Images and volumes stay.
 * @param graceMs what the container of a task is given to end by itself
 */
export async function clearNode(engine: Engine, graceMs: (taskId: string) => number, logger: Logger): Promise<void> {
  const failed = (what: string) => (error: unknown) => logger.warn(what, { reason: messageOf(error) });
  const ours = engine.containers.list().filter(({ labels }) => labels[TASK_ID_LABEL] !== undefined);
  await Promise.all(
    ours.map(async ({ id, state, labels }) => {
      if (state === 'running') await engine.containers.stop(id, { graceMs: graceMs(labels[TASK_ID_LABEL] ?? '') });
      await engine.containers.remove(id);
    }),
  ).catch(failed('removing containers'));
  await engine.networks.setPorts([]).catch(failed('removing port rules'));
  await engine.tunnels?.remove('mesh').catch(failed('removing the mesh'));
  for (const id of await engine.networks.listBridges())
    await engine.networks.removeBridge(id).catch(failed('removing a bridge'));
  await engine.networks.forgetLost?.().catch(failed('removing rules'));
  await engine.tunnels?.secure.remove().catch(failed('removing the encrypted way to other nodes'));
}
