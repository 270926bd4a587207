import { connectLocal } from '../../proto/rpc/local/client.ts';
import { controlService } from '../../proto/rpc/services.ts';
import { Lab } from '../../test/lab/lab.ts';
import { timeUntil } from './peer.ts';
import type { Loss, Peer } from './peer.ts';

const VICTIM = 4;

/** Three managers and two workers of ours. */
export class OwnPeer implements Peer {
  readonly repeats = true;
  readonly #lab = Lab.create('tsbf', 5);
  #folder = '';

  static start(): OwnPeer {
    const peer = new OwnPeer();
    try {
      peer.#lab.form(3);
      for (const machine of peer.#lab.machines) machine.load(['busybox']);
      return peer;
    } catch (error) {
      peer.#lab.dispose();
      throw error;
    }
  }

  serve(replicas: number): Promise<void> {
    const machine = this.#lab.machine(0);
    const yaml = `services: {bench: {image: busybox, command: sleep 100000, stop_grace_period: 0s, deploy: {replicas: ${replicas}}}}`;
    this.#folder = machine.project('bench', { 'compose.yaml': yaml });
    machine.composeOk(this.#folder, 'up', '-d', '--wait');
    return Promise.resolve();
  }

  async lose(replicas: number): Promise<Loss> {
    const connection = connectLocal(this.#lab.machine(0).socket);
    const control = connection.service(controlService);
    try {
      const { nodes } = await control.listNodes({});
      const victim = nodes.find(({ description }) => description.hostname === `m${VICTIM}`)?.id;
      await this.#lab.powerOff(VICTIM);
      const since = performance.now();
      const isDown = async (): Promise<boolean> =>
        (await control.listNodes({})).nodes.some(({ id, status }) => id === victim && status.state === 'down');
      const isReplaced = async (): Promise<boolean> =>
        (await control.listObjects({ project: 'bench' })).tasks.filter(
          ({ nodeId, status }) => nodeId !== victim && status.state === 'running',
        ).length >= replicas;
      const down = await timeUntil(since, isDown, 'the node to be down');
      const replaced = await timeUntil(since, isReplaced, 'the containers to run elsewhere');
      this.#lab.heal(VICTIM);
      this.#lab.start(VICTIM);
      await timeUntil(performance.now(), async () => !(await isDown()), 'the node to be back');
      // As before the loss: one container on each.
      this.#lab.machine(0).ok('tsswarm', 'rebalance');
      const isEven = async (): Promise<boolean> =>
        (await control.listObjects({ project: 'bench' })).tasks.some(
          ({ nodeId, status }) => nodeId === victim && status.state === 'running',
        );
      await timeUntil(performance.now(), isEven, 'a container on the node');
      return { down, replaced };
    } finally {
      connection.close();
    }
  }

  stop(): Promise<void> {
    this.#lab.dispose();
    return Promise.resolve();
  }
}
