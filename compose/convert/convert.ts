import { sha256 } from '@noble/hashes/sha2.js';
import { TsswarmError } from '../../base/errors.ts';
import { hasTemplate } from '../../base/template/index.ts';
import type {
  ContainerSpec,
  DesiredProject,
  FileReference,
  HealthCheck,
  Mount,
  NetworkMode,
  PublishedPort,
  ResourceLimits,
  RestartPolicy,
  SecretSpec,
  ServiceSpec,
  UpdateConfig,
  VolumeSpec,
} from '../../proto/types/index.ts';
import type { ComposeMount, ComposeProject, ComposeService, ComposeUpdateConfig } from '../types/project.ts';
import { platformConstraints } from '../normalise/platform.ts';
import { convertBlockIo } from './block-io.ts';
import { checkContent } from './content.ts';
import { convertGeneric } from './generic.ts';
import { convertHook } from './hook.ts';
import { convertAttachments, convertLinks, convertNetwork } from './networks.ts';

const DEFAULT_STOP_GRACE_MS = 10_000;
/** Docker's restart manager: 100 ms, doubled up to a minute. */
const RESTART_DELAY_MS = 100;
const LONGEST_RESTART_DELAY_MS = 60_000;
const DEFAULT_FILE_MODE = 0o444;

/** An image that has to be built before the project can be applied. */
export interface ImageBuild {
  readonly service: string;
  readonly context: string;
  readonly dockerfile: string;
  readonly dockerfileInline: string;
  readonly args: Readonly<Record<string, string>>;
  readonly target: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly names: readonly string[];
  readonly noCache: boolean;
  readonly pull: boolean;
}

export interface Conversion {
  readonly desired: DesiredProject;
  readonly builds: readonly ImageBuild[];
  readonly warnings: readonly string[];
}

export interface ConversionOptions {
  /** Bytes of every secret and config by "secrets/<key>" and "configs/<key>", read by the caller. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** `--scale service=n`. */
  readonly scale: Readonly<Record<string, number>>;
}

/**
 * What the cluster shall have for a project. Pure: the same project gives the same result, byte for byte.
 * @throws INVALID_INPUT for a scale of an unknown service
 */
export function convertProject(project: ComposeProject, { files, scale }: ConversionOptions): Conversion {
  const warnings: string[] = [];
  for (const name of Object.keys(scale)) {
    if (project.services[name] === undefined)
      throw new TsswarmError('INVALID_INPUT', `scaling service "${name}": no such service in the project`);
  }
  const owned = <T extends { readonly external?: boolean }>(objects: Readonly<Record<string, T>>): [string, T][] =>
    Object.entries(objects).filter(([, object]) => object.external !== true);
  const external = (
    objects: Readonly<Record<string, { readonly name: string; readonly external?: boolean }>>,
  ): string[] =>
    Object.values(objects)
      .filter((object) => object.external === true)
      .map(({ name }) => name);
  const content = (kind: 'secrets' | 'configs'): SecretSpec[] =>
    owned(project[kind]).map(([key, file]) => {
      const data = files.get(`${kind}/${key}`) ?? new Uint8Array();
      if (file.template_driver !== undefined) checkContent(`${kind}.${key}`, file, data);
      return {
        name: file.name,
        composeName: key,
        labels: { ...file.labels, 'com.docker.compose.project': project.name },
        data,
        ...(file.template_driver === undefined ? {} : { templateDriver: file.template_driver }),
      };
    });
  return {
    desired: {
      name: project.name,
      workingDir: project.workingDir,
      configFiles: project.files,
      services: Object.entries(project.services).map(([name, service]) =>
        convertService(project, name, service, scale[name]),
      ),
      networks: owned(project.networks).map(([key, network]) => convertNetwork(project.name, key, network)),
      // What a template names is made when a task that uses it gets its node.
      volumes: owned(project.volumes)
        .filter(([, { name }]) => !hasTemplate(name))
        .map(([key, volume]) => convertVolume(project.name, key, volume)),
      secrets: content('secrets'),
      configs: content('configs'),
      externalNetworks: external(project.networks),
      externalVolumes: external(project.volumes).filter((name) => !hasTemplate(name)),
      externalSecrets: external(project.secrets),
      externalConfigs: external(project.configs),
    },
    builds: Object.entries(project.services).flatMap(([name, service]) => imageBuild(project, name, service)),
    warnings,
  };
}

/** The image that a service runs: its own, or the one that is built for it. */
export const imageOf = (project: ComposeProject, name: string, service: ComposeService): string =>
  service.image ?? `${project.name}-${name}`;

function imageBuild(project: ComposeProject, name: string, service: ComposeService): ImageBuild[] {
  const { build } = service;
  if (build === undefined) return [];
  return [
    {
      service: name,
      context: build.context,
      dockerfile: build.dockerfile_inline === undefined ? build.dockerfile : '',
      dockerfileInline: build.dockerfile_inline ?? '',
      args: build.args ?? {},
      target: build.target ?? '',
      labels: build.labels ?? {},
      names: [imageOf(project, name, service), ...(build.tags ?? [])],
      noCache: build.no_cache ?? false,
      pull: build.pull ?? false,
    },
  ];
}

function convertService(
  project: ComposeProject,
  name: string,
  service: ComposeService,
  scaled: number | undefined,
): ServiceSpec {
  const { deploy } = service;
  const mode = deploy?.mode ?? 'replicated';
  const isJob = mode === 'replicated-job' || mode === 'global-job';
  if (scaled !== undefined && (mode === 'global' || mode === 'global-job')) {
    throw new TsswarmError('INVALID_INPUT', `scaling service "${name}": it is ${mode}: one container on each node`, {
      hint: 'choose its nodes with "deploy.placement.constraints"',
    });
  }
  return {
    name: `${project.name}_${name}`,
    composeName: name,
    labels: { ...deploy?.labels },
    replicas: scaled ?? deploy?.replicas ?? service.scale ?? 1,
    task: {
      container: convertContainer(project, name, service),
      limits: convertLimits(service),
      reservations: withoutUndefined({
        nanoCpus: nano(deploy?.resources?.reservations?.cpus),
        memoryBytes: deploy?.resources?.reservations?.memory ?? service.mem_reservation,
        generic: convertGeneric(deploy?.resources?.reservations),
      }),
      restart: convertRestart(service),
      networkMode: (service.network_mode ?? 'networks') as NetworkMode,
      networks: convertAttachments(project, service),
      ...convertLinks(service),
      log: { driver: service.logging?.driver ?? 'json-file', options: service.logging?.options ?? {} },
      constraints: [...(deploy?.placement?.constraints ?? []), ...platformConstraints(service.platform)],
      forceUpdate: 0,
      ...convertPlacement(deploy?.placement),
      ...(deploy?.['x-fencing'] === undefined || deploy['x-fencing'] === 'auto'
        ? {}
        : { fencing: deploy['x-fencing'] }),
      ...(deploy?.['x-drift'] === 'report' ? { drift: 'report' as const } : {}),
    },
    ports: service.ports.map(convertPort),
    dependsOn: Object.entries(service.depends_on).map(([dependency, { condition, required, restart }]) => ({
      service: dependency,
      condition: (
        { service_started: 'started', service_healthy: 'healthy', service_completed_successfully: 'completed' } as const
      )[condition],
      required,
      restart: restart ?? false,
    })),
    // Who says nothing of updates does not wait for the time in which they are watched: one failure still pauses them.
    update: isJob
      ? { parallelism: 0, delayMs: 0, order: 'stop-first' }
      : deploy?.update_config === undefined
        ? { parallelism: 1, delayMs: 0, order: 'stop-first', monitorMs: 0 }
        : convertUpdate(deploy.update_config),
    containerName: service.container_name ?? '',
    ...(deploy?.rollback_config === undefined ? {} : { rollback: convertUpdate(deploy.rollback_config) }),
    ...(mode === 'replicated' ? {} : { mode }),
    ...(deploy?.['x-rebalance'] === 'auto' ? { rebalance: 'auto' as const } : {}),
    ...(deploy?.endpoint_mode === 'dnsrr' ? { endpointMode: 'dnsrr' as const } : {}),
    ...(deploy?.['x-affinity'] === 'client' ? { affinity: 'client' as const } : {}),
  };
}

function convertUpdate(update: ComposeUpdateConfig): UpdateConfig {
  return {
    parallelism: update.parallelism ?? 1,
    delayMs: update.delay ?? 0,
    order: update.order ?? 'stop-first',
    ...withoutUndefined({
      monitorMs: update.monitor,
      maxFailureRatio: update.max_failure_ratio,
      failureAction: update.failure_action,
    }),
  };
}

function convertContainer(project: ComposeProject, name: string, service: ComposeService): ContainerSpec {
  const { healthcheck } = service;
  return {
    image: imageOf(project, name, service),
    ...(service.entrypoint === null ? {} : { entrypoint: { args: service.entrypoint } }),
    ...(service.command === null ? {} : { command: { args: service.command } }),
    env: Object.entries(service.environment).flatMap(([key, value]) => (value === null ? [] : [`${key}=${value}`])),
    workingDir: service.working_dir ?? '',
    user: service.user ?? '',
    groups: service.group_add ?? [],
    hostname: service.hostname ?? '',
    domainname: service.domainname ?? '',
    labels: {
      ...service.annotations,
      ...service.labels,
      'com.docker.compose.project': project.name,
      'com.docker.compose.service': name,
      'com.docker.compose.project.working_dir': project.workingDir,
      'com.docker.compose.project.config_files': project.files.join(','),
      'com.docker.compose.config-hash': configHash(service),
      'com.docker.compose.depends_on': Object.entries(service.depends_on)
        .map(([dependency, { condition, restart }]) => `${dependency}:${condition}:${String(restart ?? false)}`)
        .join(','),
    },
    mounts: service.volumes.map((mount) => convertMount(project, mount)),
    secrets: service.secrets.map((reference) => convertFile(project.secrets[reference.source]?.name ?? '', reference)),
    configs: service.configs.map((reference) => convertFile(project.configs[reference.source]?.name ?? '', reference)),
    ...(healthcheck === undefined ? {} : { healthCheck: convertHealthCheck(healthcheck) }),
    stopSignal: service.stop_signal ?? '',
    stopGraceMs: service.stop_grace_period ?? DEFAULT_STOP_GRACE_MS,
    tty: service.tty ?? false,
    openStdin: service.stdin_open ?? false,
    readOnly: service.read_only ?? false,
    privileged: service.privileged ?? false,
    init: service.init ?? false,
    capAdd: service.cap_add ?? [],
    capDrop: service.cap_drop ?? [],
    securityOpt: service.security_opt ?? [],
    sysctls: service.sysctls ?? {},
    ulimits: Object.entries(service.ulimits ?? {}).map(([limit, { soft, hard }]) => ({ name: limit, soft, hard })),
    devices: service.devices ?? [],
    extraHosts: service.extra_hosts ?? [],
    dns: service.dns ?? [],
    dnsSearch: service.dns_search ?? [],
    dnsOptions: service.dns_opt ?? [],
    shmBytes: service.shm_size ?? 0,
    oomScoreAdj: service.oom_score_adj ?? 0,
    pullPolicy: service.pull_policy === 'always' || service.pull_policy === 'never' ? service.pull_policy : 'missing',
    pidMode: service.pid ?? '',
    ipcMode: service.ipc ?? '',
    postStart: (service.post_start ?? []).map(convertHook),
    preStop: (service.pre_stop ?? []).map(convertHook),
  };
}

function convertHealthCheck(check: NonNullable<ComposeService['healthcheck']>): HealthCheck {
  if (check.disable === true) return { test: ['NONE'] };
  return {
    test: check.test ?? [],
    ...withoutUndefined({
      intervalMs: check.interval,
      timeoutMs: check.timeout,
      retries: check.retries,
      startPeriodMs: check.start_period,
      startIntervalMs: check.start_interval,
    }),
  };
}

function convertMount(project: ComposeProject, mount: ComposeMount): Mount {
  const readOnly = mount.read_only ?? false;
  switch (mount.type) {
    case 'bind':
      return {
        type: 'bind',
        source: mount.source ?? '',
        target: mount.target,
        readOnly,
        propagation: (mount.bind?.propagation ?? 'rprivate') as 'rprivate',
        createHostPath: mount.bind?.create_host_path ?? false,
      };
    case 'tmpfs':
      return {
        type: 'tmpfs',
        target: mount.target,
        readOnly,
        sizeBytes: mount.tmpfs?.size ?? 0,
        mode: mount.tmpfs?.mode ?? 0o1777,
      };
    case 'volume': {
      const volume = mount.source === undefined ? undefined : project.volumes[mount.source];
      return {
        type: 'volume',
        source: volume?.name ?? '',
        target: mount.target,
        readOnly,
        noCopy: mount.volume?.nocopy ?? false,
        subpath: mount.volume?.subpath ?? '',
        // An external volume is never made by us: the engine refuses to start without it.
        driver: volume?.external === true ? 'external' : (volume?.driver ?? 'local'),
        driverOptions: volume?.driver_opts ?? {},
        labels:
          volume === undefined
            ? (mount.volume?.labels ?? {})
            : volumeLabels(project.name, mount.source ?? '', volume.labels),
      };
    }
  }
}

function convertFile(name: string, reference: ComposeService['secrets'][number]): FileReference {
  return {
    name,
    target: reference.target,
    uid: Number(reference.uid ?? 0),
    gid: Number(reference.gid ?? 0),
    mode: reference.mode ?? DEFAULT_FILE_MODE,
    ...(reference['x-signal'] === undefined ? {} : { signal: reference['x-signal'] }),
  };
}

function convertLimits(service: ComposeService): ResourceLimits {
  const limits = service.deploy?.resources?.limits;
  return withoutUndefined({
    nanoCpus: nano(limits?.cpus ?? service.cpus),
    memoryBytes: limits?.memory ?? service.mem_limit,
    memorySwapBytes: service.memswap_limit,
    pids: limits?.pids ?? service.pids_limit,
    cpuShares: service.cpu_shares,
    cpusetCpus: service.cpuset,
    blockIo: convertBlockIo(service.blkio_config),
  });
}

/** `deploy.restart_policy` over `restart`; neither: never, as Compose has it. */
function convertRestart(service: ComposeService): RestartPolicy {
  const policy = service.deploy?.restart_policy;
  const mode = service.deploy?.mode;
  if (mode === 'replicated-job' || mode === 'global-job') {
    // A job that has completed is not run again, whatever the policy says (Docker: "any" means "on-failure" for jobs).
    return {
      condition: policy?.condition === 'none' || service.restart === 'no' ? 'none' : 'on-failure',
      delayMs: policy?.delay ?? RESTART_DELAY_MS,
      maxDelayMs: LONGEST_RESTART_DELAY_MS,
      maxAttempts: policy?.max_attempts ?? 0,
      windowMs: policy?.window ?? 0,
    };
  }
  const base = { delayMs: RESTART_DELAY_MS, maxDelayMs: LONGEST_RESTART_DELAY_MS, maxAttempts: 0, windowMs: 0 };
  if (policy !== undefined) {
    return {
      ...base,
      condition: policy.condition ?? 'any',
      delayMs: policy.delay ?? RESTART_DELAY_MS,
      maxAttempts: policy.max_attempts ?? 0,
      windowMs: policy.window ?? 0,
    };
  }
  const [word, attempts] = (service.restart ?? 'no').split(':');
  if (word === 'always' || word === 'unless-stopped') return { ...base, condition: 'any' };
  if (word === 'on-failure') return { ...base, condition: 'on-failure', maxAttempts: Number(attempts ?? 0) };
  return { ...base, condition: 'none' };
}

function convertPlacement(
  placement: NonNullable<ComposeService['deploy']>['placement'],
): Pick<ServiceSpec['task'], 'placement'> {
  const spread = (placement?.preferences ?? []).map((preference) => preference.spread);
  const maxReplicasPerNode = placement?.max_replicas_per_node ?? 0;
  return spread.length === 0 && maxReplicasPerNode === 0 ? {} : { placement: { spread, maxReplicasPerNode } };
}

function convertPort(port: ComposeService['ports'][number]): PublishedPort {
  const [first = 0, last = first] = (port.published ?? '').split('-').map(Number);
  return {
    target: port.target,
    published: first,
    ...(last > first ? { publishedEnd: last } : {}),
    protocol: port.protocol,
    mode: port.mode,
    hostIp: port.host_ip ?? '',
    // With mode host only containers of the node that was called answer: they see it anyway.
    ...(port['x-source'] === 'keep' && port.mode === 'ingress' ? { source: 'keep' as const } : {}),
  };
}

const volumeLabels = (
  projectName: string,
  key: string,
  labels: Readonly<Record<string, string>> | undefined,
): Record<string, string> => ({
  ...labels,
  'com.docker.compose.project': projectName,
  'com.docker.compose.volume': key,
});

function convertVolume(projectName: string, key: string, volume: ComposeProject['volumes'][string]): VolumeSpec {
  return {
    name: volume.name,
    composeName: key,
    driver: volume.driver ?? 'local',
    driverOptions: volume.driver_opts ?? {},
    labels: volumeLabels(projectName, key, volume.labels),
  };
}

/** sha256 of the canonical service without what does not concern its containers, as `config --hash` prints it. */
export function configHash(service: ComposeService): string {
  const {
    build: _build,
    pull_policy: _pull,
    scale: _scale,
    depends_on: _depends,
    profiles: _profiles,
    deploy,
    ...rest
  } = service;
  const { replicas: _replicas, ...deployRest } = deploy ?? {};
  const sorted = JSON.stringify({ ...rest, deploy: deployRest }, (_, value: unknown) =>
    value !== null && typeof value === 'object' && !Array.isArray(value)
      ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
      : value,
  );
  return Buffer.from(sha256(Buffer.from(sorted))).toString('hex');
}

const nano = (cpus: number | undefined): number | undefined =>
  cpus === undefined ? undefined : Math.round(cpus * 1e9);

function withoutUndefined<T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as never;
}
