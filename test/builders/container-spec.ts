import { CONTAINER_DEFAULTS } from '../../base/container-defaults.ts';
import type { ContainerSpec } from '../../proto/types/index.ts';
import type { ImageConfig } from '../../node-engine/types.ts';

/** A container that asks for nothing, with `over` on top. */
export function containerSpec(over: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    ...CONTAINER_DEFAULTS,
    image: 'busybox',
    ...over,
  };
}

/** An image that says nothing, with `over` on top. */
export function imageConfig(over: Partial<ImageConfig> = {}): ImageConfig {
  return {
    entrypoint: [],
    command: [],
    env: [],
    workingDir: '',
    user: '',
    exposedPorts: [],
    volumes: [],
    labels: {},
    stopSignal: '',
    healthCheck: undefined,
    ...over,
  };
}
