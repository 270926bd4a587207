import { numberWords } from '../../../base/published-port.ts';
import type {
  FileReference,
  Mount,
  PublishedPort,
  Service,
  ServiceSpec,
  UpdateConfig,
} from '../../../proto/types/index.ts';

const NANOSECONDS = 1e6;
const ns = (ms: number): number => Math.round(ms * NANOSECONDS);
const iso = (ms: number): string => new Date(ms).toISOString();
const map = (entries: Readonly<Record<string, string>>): Map<string, string> =>
  new Map(Object.entries(entries).sort(([a], [b]) => (a < b ? -1 : 1)));

/** A field that is only there when there is something in it. */
function some<K extends string, T>(key: K, value: T | undefined): { readonly [P in K]?: T } {
  const isEmpty =
    value === undefined ||
    value === '' ||
    value === 0 ||
    value === false ||
    (Array.isArray(value) && value.length === 0);
  return (isEmpty || (value instanceof Map && value.size === 0) ? {} : { [key]: value }) as { readonly [P in K]?: T };
}

/** A service in the shape of `docker service inspect`: times in nanoseconds, as there. */
export function inspectedService(service: Service) {
  const { meta, spec, previous, updateStatus } = service;
  return {
    ID: service.id,
    Version: { Index: meta.version },
    CreatedAt: iso(meta.createdAt),
    UpdatedAt: iso(meta.updatedAt),
    Spec: inspectedSpec(spec),
    ...(previous === undefined ? {} : { PreviousSpec: inspectedSpec(previous.spec) }),
    Endpoint: { Spec: endpointSpec(spec.ports), ...some('Ports', service.ports.map(inspectedPort)) },
    ...(updateStatus === undefined
      ? {}
      : {
          UpdateStatus: {
            State: updateStatus.state,
            StartedAt: iso(updateStatus.startedAt),
            ...(updateStatus.completedAt === 0 ? {} : { CompletedAt: iso(updateStatus.completedAt) }),
            Message: updateStatus.message,
          },
        }),
    // Not Docker's: the project, and whether it is stopped.
    ...some('Project', service.projectName),
    ...some('Stopped', service.stopped),
  };
}

export type InspectedService = ReturnType<typeof inspectedService>;

function inspectedSpec(spec: ServiceSpec) {
  const { task } = spec;
  return {
    Name: spec.name,
    Labels: map(spec.labels),
    TaskTemplate: {
      ContainerSpec: inspectedContainer(task.container),
      Resources: {
        Limits: {
          ...some('NanoCPUs', task.limits.nanoCpus),
          ...some('MemoryBytes', task.limits.memoryBytes),
          ...some('Pids', task.limits.pids),
        },
        Reservations: {
          ...some('NanoCPUs', task.reservations.nanoCpus),
          ...some('MemoryBytes', task.reservations.memoryBytes),
        },
      },
      RestartPolicy: {
        Condition: task.restart.condition,
        Delay: ns(task.restart.delayMs),
        MaxAttempts: task.restart.maxAttempts,
        ...some('Window', ns(task.restart.windowMs)),
      },
      Placement: {
        ...some('Constraints', task.constraints),
        ...some(
          'Preferences',
          task.placement?.spread.map((label) => ({ Spread: { SpreadDescriptor: label } })),
        ),
        ...some('MaxReplicas', task.placement?.maxReplicasPerNode),
      },
      ...some(
        'Networks',
        task.networkMode === 'networks'
          ? task.networks.map(({ network, aliases }) => ({ Target: network, ...some('Aliases', aliases) }))
          : [{ Target: task.networkMode }],
      ),
      LogDriver: { Name: task.log.driver, ...some('Options', map(task.log.options)) },
      ForceUpdate: task.forceUpdate,
      Runtime: 'container',
    },
    Mode: inspectedMode(spec),
    ...(spec.mode?.endsWith('-job') === true ? {} : { UpdateConfig: updateConfig(spec.update) }),
    ...(spec.rollback === undefined ? {} : { RollbackConfig: updateConfig(spec.rollback) }),
    EndpointSpec: endpointSpec(spec.ports),
  };
}

function inspectedContainer(container: ServiceSpec['task']['container']) {
  const { healthCheck } = container;
  return {
    Image: container.image,
    ...some('Labels', map(container.labels)),
    ...some('Command', container.entrypoint?.args),
    ...some('Args', container.command?.args),
    ...some('Hostname', container.hostname),
    ...some('Env', container.env),
    ...some('Dir', container.workingDir),
    ...some('User', container.user),
    ...some('Groups', container.groups),
    ...some('StopSignal', container.stopSignal),
    ...some('TTY', container.tty),
    ...some('ReadOnly', container.readOnly),
    ...some('Mounts', container.mounts.map(inspectedMount)),
    StopGracePeriod: ns(container.stopGraceMs),
    ...(healthCheck === undefined
      ? {}
      : {
          Healthcheck: {
            ...some('Test', healthCheck.test),
            ...some('Interval', ns(healthCheck.intervalMs ?? 0)),
            ...some('Timeout', ns(healthCheck.timeoutMs ?? 0)),
            ...some('Retries', healthCheck.retries),
            ...some('StartPeriod', ns(healthCheck.startPeriodMs ?? 0)),
            ...some('StartInterval', ns(healthCheck.startIntervalMs ?? 0)),
          },
        }),
    ...some(
      'Hosts',
      container.extraHosts.map((line) => line.split('=', 2).reverse().join(' ')),
    ),
    DNSConfig: {
      ...some('Nameservers', container.dns),
      ...some('Search', container.dnsSearch),
      ...some('Options', container.dnsOptions),
    },
    ...some(
      'Secrets',
      container.secrets.map((file) => inspectedFile('Secret', file)),
    ),
    ...some(
      'Configs',
      container.configs.map((file) => inspectedFile('Config', file)),
    ),
    Init: container.init,
    ...some('Sysctls', map(container.sysctls)),
    ...some('CapabilityAdd', container.capAdd),
    ...some('CapabilityDrop', container.capDrop),
    ...some(
      'Ulimits',
      container.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })),
    ),
    ...some('OomScoreAdj', container.oomScoreAdj),
  };
}

function inspectedMount(mount: Mount): object {
  const common = { Type: mount.type, Target: mount.target, ...some('ReadOnly', mount.readOnly) };
  switch (mount.type) {
    case 'bind':
      return { ...common, Source: mount.source, BindOptions: { Propagation: mount.propagation } };
    case 'tmpfs':
      return { ...common, TmpfsOptions: { ...some('SizeBytes', mount.sizeBytes), Mode: mount.mode } };
    case 'volume':
      return {
        ...common,
        ...some('Source', mount.source),
        VolumeOptions: {
          ...some('NoCopy', mount.noCopy),
          ...some('Subpath', mount.subpath),
          ...some('Labels', map(mount.labels)),
          DriverConfig: { Name: mount.driver, ...some('Options', map(mount.driverOptions)) },
        },
      };
  }
}

function inspectedFile(kind: 'Secret' | 'Config', { name, target, uid, gid, mode, signal }: FileReference): object {
  const file = { Name: target, UID: String(uid), GID: String(gid), Mode: mode, ...some('Signal', signal ?? '') };
  return { File: file, [`${kind}Name`]: name };
}

function inspectedMode({ mode = 'replicated', replicas }: ServiceSpec): object {
  switch (mode) {
    case 'replicated':
      return { Replicated: { Replicas: replicas } };
    case 'global':
      return { Global: {} };
    case 'replicated-job':
      return { ReplicatedJob: { MaxConcurrent: replicas, TotalCompletions: replicas } };
    case 'global-job':
      return { GlobalJob: {} };
  }
}

function updateConfig({ parallelism, delayMs, order, monitorMs, maxFailureRatio, failureAction }: UpdateConfig) {
  return {
    Parallelism: parallelism,
    ...some('Delay', ns(delayMs)),
    FailureAction: failureAction ?? 'pause',
    Monitor: ns(monitorMs ?? 5000),
    MaxFailureRatio: maxFailureRatio ?? 0,
    Order: order,
  };
}

function endpointSpec(ports: readonly PublishedPort[]) {
  return { Mode: 'dnsrr', ...some('Ports', ports.map(inspectedPort)) };
}

/** Docker has no ranges there: `PublishedRange` is ours. */
const inspectedPort = ({ target, published, publishedEnd, protocol, mode }: PublishedPort) => ({
  Protocol: protocol,
  TargetPort: target,
  ...(publishedEnd === undefined
    ? some('PublishedPort', published)
    : { PublishedRange: numberWords({ published, publishedEnd }) }),
  PublishMode: mode,
});
