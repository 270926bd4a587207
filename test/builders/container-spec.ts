import type { ContainerSpec } from '../../proto/types/index.ts';
import type { ImageConfig } from '../../node-engine/types.ts';

/** A container that asks for nothing, with `over` on top. */
export function containerSpec(over: Partial<ContainerSpec> = {}): ContainerSpec {
  return {
    image: 'busybox',
    env: [],
    workingDir: '',
    user: '',
    groups: [],
    hostname: '',
    domainname: '',
    labels: {},
    mounts: [],
    secrets: [],
    configs: [],
    stopSignal: '',
    stopGraceMs: 10_000,
    tty: false,
    openStdin: false,
    readOnly: false,
    privileged: false,
    init: false,
    capAdd: [],
    capDrop: [],
    securityOpt: [],
    sysctls: {},
    ulimits: [],
    devices: [],
    extraHosts: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    shmBytes: 0,
    oomScoreAdj: 0,
    pullPolicy: 'missing',
    pidMode: '',
    ipcMode: '',
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
