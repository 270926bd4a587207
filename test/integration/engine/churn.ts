/**
 * A daemon's work in short, for the recovery test to kill: creates, starts, stops and removes containers until it dies.
 * Prints "ready", then a dot after each step. Arguments: state directory, run directory, cgroup parent, the request of a container as JSON.
 */
import { newContainerId } from '../../../base/ids.ts';
import { systemRandom } from '../../../base/random.ts';
import type { ContainerCreate } from '../../../node-engine/types.ts';
import { openEngine } from './engine-fixture.ts';

const [stateDir = '', runDir = '', cgroupParent = '', text = ''] = process.argv.slice(2);
const pattern = JSON.parse(text) as ContainerCreate;
const engine = await openEngine(stateDir, runDir, cgroupParent);
await engine.recover();
process.stdout.write('ready\n');

const step = async (work: Promise<unknown>): Promise<void> => {
  await work;
  process.stdout.write('.');
};
const live = async (): Promise<never> => {
  for (;;) {
    const id = newContainerId(systemRandom);
    const secrets = [{ target: '/run/secrets/key', uid: 0, gid: 0, mode: 0o400, data: Buffer.from('hush') }];
    await step(engine.containers.create({ ...pattern, id, secrets }));
    await step(engine.containers.start(id));
    const next = newContainerId(systemRandom);
    await step(engine.containers.stop(id, { graceMs: 0 }));
    await step(engine.containers.create({ ...pattern, id: next, secrets, adopt: id }));
    await step(engine.containers.start(next));
    await step(engine.containers.remove(next));
  }
};
await Promise.all([live(), live(), live()]);
