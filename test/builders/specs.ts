import type { DesiredProject, NetworkSpec, SecretSpec, ServiceSpec, TaskSpec } from '../../proto/types/index.ts';
import { containerSpec } from './container-spec.ts';

/** A task spec on the network "app_default" that is not restarted. */
export function taskSpec(change: Partial<TaskSpec> = {}): TaskSpec {
  return {
    container: containerSpec(),
    limits: {},
    reservations: {},
    restart: { condition: 'none', delayMs: 100, maxDelayMs: 60_000, maxAttempts: 0, windowMs: 0 },
    networkMode: 'networks',
    networks: [{ network: 'app_default', aliases: [], ipv4Address: '' }],
    log: { driver: 'json-file', options: {} },
    constraints: [],
    forceUpdate: 0,
    ...change,
  };
}

/** One replica of service `name` in project "app". */
export function serviceSpec(name: string, change: Partial<ServiceSpec> = {}): ServiceSpec {
  return {
    name: `app_${name}`,
    composeName: name,
    labels: {},
    replicas: 1,
    task: taskSpec(),
    ports: [],
    dependsOn: [],
    update: { parallelism: 0, delayMs: 0, order: 'stop-first' },
    containerName: '',
    ...change,
  };
}

export function networkSpec(name: string, change: Partial<NetworkSpec> = {}): NetworkSpec {
  return {
    name: `app_${name}`,
    composeName: name,
    driver: 'bridge',
    labels: {},
    internal: false,
    attachable: false,
    options: {},
    subnet: '',
    gateway: '',
    ipRange: '',
    auxiliaryAddresses: {},
    ...change,
  };
}

/** Project "app" with its default network. */
export function project(services: readonly ServiceSpec[], change: Partial<DesiredProject> = {}): DesiredProject {
  return {
    name: 'app',
    workingDir: '/app',
    configFiles: ['/app/compose.yaml'],
    services,
    networks: [networkSpec('default')],
    volumes: [],
    secrets: [],
    configs: [],
    externalNetworks: [],
    externalVolumes: [],
    externalSecrets: [],
    externalConfigs: [],
    ...change,
  };
}

/** Secret or config `name` of project "app". */
export function configSpec(name: string, text: string): SecretSpec {
  return { name: `app_${name}`, composeName: name, labels: {}, data: new Uint8Array(Buffer.from(text)) };
}
