import { parseConstraint, parseSpread } from '../../base/constraint.ts';
import { parseSignal } from '../../base/signals.ts';
import type {
  ComposeBuild,
  ComposeDependency,
  ComposeDeploy,
  ComposeUpdateConfig,
  ComposeFileReference,
  ComposeHealthCheck,
  ComposeService,
} from '../types/project.ts';
import { readAttachments, readMacAddress, withLinks } from './attachments.ts';
import { readHooks } from './hooks.ts';
import { LOG_OPTIONS } from './log-options.ts';
import { readBlockIo } from './block-io.ts';
import type { PathContext } from './mounts.ts';
import { absolute, readMounts } from './mounts.ts';
import { readPlatform } from './platform.ts';
import { readPorts } from './ports.ts';
import type { Reader } from './reader.ts';
import { compact } from './reader.ts';
import { readReservations } from './reservations.ts';
import { checkTemplates } from './templates.ts';
import { bytesField, commandField, durationField } from './units.ts';

export interface ServiceContext extends PathContext {
  /** Variables of the project: a bare `environment` key takes its value from here. */
  readonly lookup: (name: string) => string | undefined;
  /** Values of the service's env files, in their order, already read. */
  readonly envFiles: ReadonlyMap<string, string>;
  /** Full name: "shop_db". */
  readonly serviceName: string;
}

/** One service in its canonical form. @throws INVALID_COMPOSE or NOT_SUPPORTED with the place */
export function readService(reader: Reader, context: ServiceContext): ComposeService {
  if (!reader.exists) reader.refuse(undefined, 'is empty', 'a service has at least "image:" or "build:"');
  const mode = reader.text('network_mode');
  checkNetworkMode(reader, mode);
  if (mode !== undefined && reader.at('networks').exists)
    reader.refuse('network_mode', 'and "networks" exclude each other');
  for (const key of ['pid', 'ipc']) {
    const value = reader.text(key);
    if (value !== undefined && value !== 'host' && !(key === 'ipc' && value === 'private'))
      reader.notYet(key, `"${value}"`);
  }
  if (!reader.at('image').exists && !reader.at('build').exists) {
    reader.refuse(undefined, 'has neither "image" nor "build"');
  }
  const service = compact({
    image: reader.text('image'),
    build: readBuild(reader, context),
    command: commandField(reader, 'command'),
    entrypoint: commandField(reader, 'entrypoint'),
    environment: readEnvironment(reader, context),
    labels: reader.labels('labels') ?? {},
    annotations: reader.labels('annotations'),
    ports: readPorts(reader.at('ports')),
    expose: reader.strings('expose'),
    volumes: readMounts(reader, context),
    networks: readAttachments(reader),
    mac_address: readMacAddress(reader),
    links: reader.strings('links'),
    network_mode: mode === 'bridge' ? undefined : mode,
    depends_on: withLinks(reader, readDependencies(reader)),
    healthcheck: readHealthCheck(reader.at('healthcheck')),
    deploy: readDeploy(reader.at('deploy')),
    restart: readRestart(reader),
    scale: reader.integer('scale'),
    container_name: reader.text('container_name'),
    hostname: reader.text('hostname'),
    domainname: reader.text('domainname'),
    user: reader.text('user'),
    group_add: reader.strings('group_add'),
    working_dir: reader.text('working_dir'),
    tty: reader.bool('tty'),
    stdin_open: reader.bool('stdin_open'),
    read_only: reader.bool('read_only'),
    privileged: reader.bool('privileged'),
    init: reader.bool('init'),
    cap_add: reader.strings('cap_add'),
    cap_drop: reader.strings('cap_drop'),
    security_opt: reader.strings('security_opt'),
    sysctls: reader.labels('sysctls'),
    ulimits: readUlimits(reader.at('ulimits')),
    devices: readDevices(reader.at('devices')),
    extra_hosts: readExtraHosts(reader),
    dns: reader.strings('dns'),
    dns_search: reader.strings('dns_search'),
    dns_opt: reader.strings('dns_opt'),
    shm_size: bytesField(reader, 'shm_size'),
    oom_score_adj: reader.integer('oom_score_adj'),
    stop_signal: readSignal(reader, 'stop_signal'),
    stop_grace_period: durationField(reader, 'stop_grace_period'),
    pull_policy: readPullPolicy(reader),
    profiles: reader.strings('profiles'),
    secrets: readFiles(reader.at('secrets'), (source) => `/run/secrets/${source}`, '/run/secrets/'),
    configs: readFiles(reader.at('configs'), (source) => `/${source}`, '/'),
    logging: readLogging(reader.at('logging')),
    pid: reader.text('pid'),
    ipc: reader.text('ipc'),
    mem_limit: bytesField(reader, 'mem_limit'),
    memswap_limit: bytesField(reader, 'memswap_limit'),
    mem_reservation: bytesField(reader, 'mem_reservation'),
    cpus: reader.number('cpus'),
    cpu_shares: reader.integer('cpu_shares'),
    cpuset: reader.text('cpuset'),
    pids_limit: reader.integer('pids_limit'),
    blkio_config: readBlockIo(reader.at('blkio_config')),
    platform: readPlatform(reader),
    post_start: readHooks(reader.at('post_start'), context.lookup),
    pre_stop: readHooks(reader.at('pre_stop'), context.lookup),
  }) as ComposeService;
  checkTemplates(reader, service, context.serviceName);
  return service;
}

function readBuild(reader: Reader, context: ServiceContext): ComposeBuild | undefined {
  const short = reader.raw('build');
  if (short === undefined || short === null) return undefined;
  const build = reader.at('build');
  const contextPath = typeof short === 'string' ? short : (build.text('context') ?? '.');
  if (/^(https?|git|ssh):\/\/|^git@/.test(contextPath)) reader.notYet('build', `with the context "${contextPath}"`);
  if (typeof short === 'string') return { context: absolute(short, context), dockerfile: 'Dockerfile' };
  if (build.text('dockerfile') !== undefined && build.text('dockerfile_inline') !== undefined) {
    build.refuse('dockerfile_inline', 'and "dockerfile" exclude each other');
  }
  const args = build.pairs('args');
  return compact({
    context: absolute(contextPath, context),
    dockerfile: build.text('dockerfile') ?? 'Dockerfile',
    dockerfile_inline: build.text('dockerfile_inline'),
    args: args === undefined ? undefined : withoutNull(fromOutside(args, context.lookup)),
    target: build.text('target'),
    labels: build.labels('labels'),
    tags: build.strings('tags'),
    no_cache: build.bool('no_cache'),
    pull: build.bool('pull'),
  }) as ComposeBuild;
}

/** A key without a value takes the project's; one that is unset there stays null. */
function fromOutside(
  pairs: Readonly<Record<string, string | null>>,
  lookup: (name: string) => string | undefined,
): Record<string, string | null> {
  return Object.fromEntries(Object.entries(pairs).map(([key, value]) => [key, value ?? lookup(key) ?? null]));
}

/** What belongs to the container whose network is shared. */
const OF_THE_OTHER = [
  'ports',
  'expose',
  'hostname',
  'domainname',
  'dns',
  'dns_search',
  'dns_opt',
  'extra_hosts',
  'links',
  'mac_address',
];

function checkNetworkMode(reader: Reader, mode: string | undefined): void {
  if (mode === undefined || mode === 'host' || mode === 'none' || mode === 'bridge') return;
  const [, kind, name = ''] = /^(service|container):(.*)$/.exec(mode) ?? [];
  if (kind === undefined || name === '')
    reader.refuse('network_mode', `is "${mode}", expected bridge, host, none, service:<name> or container:<name>`);
  for (const key of OF_THE_OTHER) {
    if (!reader.at(key).exists) continue;
    reader.refuse(key, `and "network_mode: ${mode}" exclude each other`, `it belongs to the one whose network it is`);
  }
}

const withoutNull = (pairs: Readonly<Record<string, string | null>>): Record<string, string> =>
  Object.fromEntries(Object.entries(pairs).filter((pair): pair is [string, string] => pair[1] !== null));

/** `environment` over the env files. */
function readEnvironment(reader: Reader, { lookup, envFiles }: ServiceContext): Record<string, string | null> {
  return { ...Object.fromEntries(envFiles), ...fromOutside(reader.pairs('environment') ?? {}, lookup) };
}

function readDependencies(reader: Reader): Record<string, ComposeDependency> {
  const list = reader.at('depends_on');
  if (Array.isArray(list.value)) {
    return Object.fromEntries(
      (list.value as unknown[]).map((name) => [
        String(name),
        { condition: 'service_started' as const, required: true },
      ]),
    );
  }
  return Object.fromEntries(
    list.keys().map((name) => {
      const item = list.at(name);
      return [
        name,
        compact({
          condition: (item.text('condition') ?? 'service_started') as ComposeDependency['condition'],
          required: item.bool('required') ?? true,
          restart: item.bool('restart'),
        }) as ComposeDependency,
      ];
    }),
  );
}

function readHealthCheck(reader: Reader): ComposeHealthCheck | undefined {
  if (!reader.exists) return undefined;
  if (reader.bool('disable') === true) return { disable: true };
  const raw = reader.raw('test');
  const test = typeof raw === 'string' ? ['CMD-SHELL', raw] : reader.strings('test');
  if (test !== undefined && !['CMD', 'CMD-SHELL', 'NONE'].includes(test[0] ?? '')) {
    reader.refuse('test', `begins with "${test[0] ?? ''}", expected CMD, CMD-SHELL or NONE`);
  }
  if (test?.[0] === 'NONE') return { disable: true };
  return compact({
    test,
    interval: durationField(reader, 'interval'),
    timeout: durationField(reader, 'timeout'),
    retries: reader.integer('retries'),
    start_period: durationField(reader, 'start_period'),
    start_interval: durationField(reader, 'start_interval'),
  }) as ComposeHealthCheck;
}

function readDeploy(reader: Reader): ComposeDeploy | undefined {
  if (!reader.exists) return undefined;
  const mode = reader.text('mode');
  const isJob = mode === 'replicated-job' || mode === 'global-job';
  if (mode !== undefined && mode !== 'replicated' && mode !== 'replicated-job' && reader.at('replicas').exists) {
    reader.refuse('replicas', `is for replicated services; this one is ${mode}: one container on each node`);
  }
  for (const key of ['update_config', 'rollback_config']) {
    if (isJob && reader.at(key).exists) {
      reader.refuse(key, 'is for services that keep running: a job is run anew when it changes');
    }
  }
  for (const key of ['x-fencing', 'x-rebalance']) {
    if ((mode === 'global' || mode === 'global-job') && reader.at(key).exists)
      reader.refuse(key, `is for containers that can run on another node; those of a ${mode} service stay on theirs`);
  }
  if (isJob && reader.at('x-rebalance').exists)
    reader.refuse('x-rebalance', 'is for services that keep running: a job is not moved');
  if (reader.text('endpoint_mode') === 'dnsrr' && reader.text('x-affinity') === 'client')
    reader.refuse('x-affinity', 'needs a virtual address: with "endpoint_mode: dnsrr" each client chooses for itself');
  const limits = reader.at('resources', 'limits');
  const restart = reader.at('restart_policy');
  return compact({
    mode,
    replicas: reader.integer('replicas'),
    labels: reader.labels('labels'),
    resources: reader.at('resources').exists
      ? compact({
          limits: limits.exists
            ? compact({
                cpus: limits.number('cpus'),
                memory: bytesField(limits, 'memory'),
                pids: limits.integer('pids'),
              })
            : undefined,
          reservations: readReservations(reader.at('resources', 'reservations')),
        })
      : undefined,
    restart_policy: restart.exists
      ? compact({
          condition: restart.text('condition'),
          delay: durationField(restart, 'delay'),
          max_attempts: restart.integer('max_attempts'),
          window: durationField(restart, 'window'),
        })
      : undefined,
    update_config: readUpdate(reader.at('update_config'), true),
    rollback_config: readUpdate(reader.at('rollback_config'), false),
    placement: readPlacement(reader.at('placement')),
    endpoint_mode: reader.text('endpoint_mode'),
    'x-affinity': reader.text('x-affinity'),
    'x-fencing': reader.text('x-fencing'),
    'x-rebalance': reader.text('x-rebalance'),
    'x-drift': reader.text('x-drift'),
  }) as ComposeDeploy;
}

function readUpdate(reader: Reader, canRollBack: boolean): ComposeUpdateConfig | undefined {
  if (!reader.exists) return undefined;
  const parallelism = reader.integer('parallelism');
  if (parallelism !== undefined && parallelism < 0)
    reader.refuse('parallelism', `is ${parallelism}, expected 0 or more`);
  const ratio = reader.number('max_failure_ratio');
  if (ratio !== undefined && (ratio < 0 || ratio > 1))
    reader.refuse('max_failure_ratio', `is ${ratio}, expected 0 to 1`);
  const action = reader.text('failure_action');
  if (action === 'rollback' && !canRollBack) {
    reader.refuse('failure_action', 'is "rollback", expected pause or continue: a rollback is not rolled back');
  }
  return compact({
    parallelism,
    delay: durationField(reader, 'delay'),
    order: reader.text('order'),
    monitor: durationField(reader, 'monitor'),
    max_failure_ratio: ratio,
    failure_action: action,
  }) as ComposeUpdateConfig;
}

function readPlacement(reader: Reader): ComposeDeploy['placement'] {
  if (!reader.exists) return undefined;
  const constraints = reader.strings('constraints');
  for (const [index, text] of (constraints ?? []).entries()) {
    const parsed = parseConstraint(text);
    if (typeof parsed === 'string') reader.at('constraints').refuse(index, `("${text}") ${parsed}`);
  }
  const preferences = reader
    .at('preferences')
    .items()
    .map((item) => {
      const spread = item.text('spread') ?? item.refuse(undefined, 'has no "spread"', 'e.g. spread: node.labels.zone');
      const parsed = parseSpread(spread);
      return typeof parsed === 'string' ? item.refuse('spread', parsed) : { spread };
    });
  const most = reader.integer('max_replicas_per_node');
  if (most !== undefined && most < 0) reader.refuse('max_replicas_per_node', `is ${most}, expected 0 or more`);
  return compact({
    constraints,
    preferences: preferences.length === 0 ? undefined : preferences,
    max_replicas_per_node: most,
  });
}

function readRestart(reader: Reader): string | undefined {
  const value = reader.raw('restart');
  if (value === undefined || value === null) return undefined;
  if (value === false) return 'no';
  const text = String(value);
  if (/^(no|always|unless-stopped|on-failure(:\d+)?)$/.test(text)) return text;
  return reader.refuse('restart', `is "${text}", expected no, always, unless-stopped or on-failure[:attempts]`);
}

function readPullPolicy(reader: Reader): string | undefined {
  const value = reader.text('pull_policy');
  if (value === undefined || ['always', 'missing', 'never', 'build'].includes(value)) return value;
  if (value === 'if_not_present') return 'missing';
  if (/^(daily|weekly|every_.+|refresh)$/.test(value)) return reader.notYet('pull_policy', `"${value}"`);
  return reader.refuse('pull_policy', `is "${value}", expected always, missing, never or build`);
}

function readUlimits(reader: Reader): ComposeService['ulimits'] {
  if (!reader.exists) return undefined;
  return Object.fromEntries(
    reader.keys().map((name) => {
      const item = reader.at(name);
      if (typeof item.value !== 'object') {
        const both = reader.integer(name) ?? 0;
        return [name, { soft: both, hard: both }];
      }
      const soft = item.integer('soft');
      const hard = item.integer('hard');
      if (soft === undefined && hard === undefined) item.refuse(undefined, 'has neither soft nor hard');
      return [name, { soft: soft ?? hard ?? 0, hard: hard ?? soft ?? 0 }];
    }),
  );
}

function readDevices(reader: Reader): ComposeService['devices'] {
  if (!reader.exists) return undefined;
  return reader.items().map((item, index) => {
    if (typeof item.value === 'object') {
      const source = item.text('source') ?? item.refuse(undefined, 'has no source');
      return { source, target: item.text('target') ?? source, permissions: item.text('permissions') ?? 'rwm' };
    }
    const [source = '', target = source, permissions = 'rwm'] = (reader.text(index) ?? '').split(':');
    if (!source.startsWith('/')) reader.notYet(index, `"${source}" (a CDI device name)`);
    if (!/^[rwm]+$/.test(permissions))
      reader.refuse(index, `has permissions "${permissions}", expected letters of rwm`);
    return { source, target, permissions };
  });
}

/** "name=address" each, from `name:address`, `name=address` or a map. */
function readExtraHosts(reader: Reader): readonly string[] | undefined {
  const value = reader.raw('extra_hosts');
  if (value === undefined || value === null) return undefined;
  const pairs: readonly (readonly [string, string])[] = Array.isArray(value)
    ? value.map(String).map((item, index) => {
        const split = /^([^=:]+)[=:](.+)$/.exec(item);
        if (split === null) return reader.at('extra_hosts').refuse(index, `is "${item}", expected name:address`);
        return [split[1] ?? '', split[2] ?? ''] as const;
      })
    : Object.entries(value as Record<string, unknown>).map(([name, address]) => [name, String(address)] as const);
  return pairs.map(([name, address]) => `${name}=${address.replace(/^\[(.*)\]$/, '$1')}`);
}

/** The name or number of a signal, as it is written. */
function readSignal(reader: Reader, key: string): string | undefined {
  const signal = reader.text(key);
  try {
    if (signal !== undefined) parseSignal(signal);
  } catch {
    reader.refuse(key, `is "${signal}", expected a signal`, 'write a name such as "SIGHUP" or a number from 1 to 64');
  }
  return signal;
}

function readFiles(
  list: Reader,
  defaultTarget: (source: string) => string,
  base: string,
): readonly ComposeFileReference[] {
  return list.items().map((item, index) => {
    if (typeof item.value !== 'object') {
      const source = list.text(index) ?? '';
      return { source, target: defaultTarget(source) };
    }
    const source = item.text('source') ?? item.refuse(undefined, 'has no source');
    const target = item.text('target');
    return compact({
      source,
      target: target === undefined ? defaultTarget(source) : target.startsWith('/') ? target : base + target,
      uid: item.text('uid'),
      gid: item.text('gid'),
      mode: item.mode('mode'),
      'x-signal': readSignal(item, 'x-signal'),
    }) as ComposeFileReference;
  });
}

function readLogging(reader: Reader): ComposeService['logging'] {
  if (!reader.exists) return undefined;
  const driver = reader.text('driver') ?? 'json-file';
  const known = LOG_OPTIONS[driver];
  if (known === undefined) return reader.notYet('driver', `"${driver}"`);
  const options = reader.labels('options');
  for (const option of Object.keys(options ?? {})) {
    if (!known.includes(option)) reader.at('options').notYet(option, `(option of the log driver "${driver}")`);
  }
  return compact({ driver, options }) as ComposeService['logging'];
}
