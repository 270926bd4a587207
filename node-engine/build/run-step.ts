import { CONTAINER_DEFAULTS } from '../../base/container-defaults.ts';
import { newContainerId } from '../../base/ids.ts';
import type { ContainerId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import type { ContainerSpec } from '../../proto/types/index.ts';
import type { Containers } from '../types.ts';

/** The engine as a RUN step needs it. */
export interface StepRunner {
  readonly containers: Pick<Containers, 'create' | 'start' | 'wait' | 'logs' | 'remove'>;
  readonly random: Random;
}

/** A container that ran a step: its writable layer holds what the step made. The caller removes it. */
export interface RanStep {
  readonly id: ContainerId;
  readonly exitCode: number;
  readonly oomKilled: boolean;
}

/** Label of a build's containers: the agent leaves them alone, a crash's are collected at the next build. */
export const BUILD_LABEL = 'tsswarm.build';

/**
 * Runs a command on an image in a container of its own, in the node's network namespace (so that it reaches what the node
 * reaches), and hands its output on line by line.
 */
export async function runStep(
  { containers, random }: StepRunner,
  imageId: string,
  argv: readonly string[],
  env: readonly string[],
  onOutput: (text: string) => void,
  signal: AbortSignal | undefined,
): Promise<RanStep> {
  const id = newContainerId(random);
  await containers.create(
    {
      id,
      name: `build-${id.slice(0, 12)}`,
      spec: { ...STEP_SPEC, entrypoint: { args: argv }, command: { args: [] }, env },
      imageId,
      limits: {},
      log: { driver: 'json-file', options: {} },
      sandbox: { mode: 'host', interfaces: [] },
      secrets: [],
      configs: [],
      labels: { [BUILD_LABEL]: 'step' },
      adopt: '',
    },
    signal,
  );
  try {
    await containers.start(id);
    const reading = (async () => {
      for await (const { data } of containers.logs(id, { follow: true, tail: -1, since: 0, until: 0 }, signal)) {
        onOutput(Buffer.from(data).toString('utf8').replace(/\n$/, ''));
      }
    })();
    const { code, oomKilled } = await containers.wait(id, signal);
    await reading;
    return { id, exitCode: code, oomKilled };
  } catch (error) {
    await containers.remove(id);
    throw error;
  }
}

/** Everything else is the image's. */
const STEP_SPEC: ContainerSpec = {
  ...CONTAINER_DEFAULTS,
  image: 'build',
  hostname: 'build',
  healthCheck: { test: ['NONE'] },
  stopGraceMs: 1000,
  pullPolicy: 'never',
};
