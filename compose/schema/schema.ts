import { NOT_HONOURED_YET } from './keys.ts';

type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: ['string', 'number', 'boolean'] };
const string: Schema = { type: 'string' };
const integer: Schema = { type: ['integer', 'string'] };
const number: Schema = { type: ['number', 'string'] };
const bool: Schema = { type: ['boolean', 'string'] };
const nullable = (schema: Schema): Schema => ({ anyOf: [schema, { type: 'null' }] });
const listOf = (items: Schema): Schema => ({ type: 'array', items });
const stringOrList: Schema = { anyOf: [string, listOf(text)] };
const valueMap: Schema = { type: 'object', additionalProperties: { type: ['string', 'number', 'boolean', 'null'] } };
/** `{A: 1}` or `[A=1, B]`. */
const listOrMap: Schema = { anyOf: [valueMap, listOf(text)] };
const nullableStringOrList = nullable(stringOrList);

/** An object with these keys, extensions (`x-…`), and the known keys that are not honoured yet: refused later, by name. */
function object(properties: Record<string, Schema>, level?: string): Schema {
  const later = Object.fromEntries(
    (level === undefined ? [] : (NOT_HONOURED_YET[level] ?? [])).map((key) => [key, {}]),
  );
  return {
    type: 'object',
    properties: { ...later, ...properties },
    patternProperties: { '^x-': {} },
    additionalProperties: false,
  };
}

const healthcheck = object({
  test: stringOrList,
  interval: text,
  timeout: text,
  retries: integer,
  start_period: text,
  start_interval: text,
  disable: bool,
});

const hook = object({
  command: stringOrList,
  user: text,
  privileged: bool,
  working_dir: string,
  environment: listOrMap,
});

const resources = object({
  limits: object({ cpus: number, memory: text, pids: integer }),
  reservations: object(
    {
      cpus: number,
      memory: text,
      generic_resources: listOf(object({ discrete_resource_spec: object({ kind: string, value: integer }) })),
      devices: listOf(
        object({
          capabilities: listOf(string),
          count: integer,
          device_ids: listOf(text),
          driver: string,
          options: listOrMap,
        }),
      ),
    },
    'reservations',
  ),
});

const rates = listOf(object({ path: string, rate: text }));
const blockIo = object(
  {
    weight: integer,
    weight_device: listOf(object({ path: string, weight: integer })),
    device_read_bps: rates,
    device_write_bps: rates,
    device_read_iops: rates,
    device_write_iops: rates,
  },
  'blkio_config',
);

const update = object({
  parallelism: integer,
  delay: text,
  order: { enum: ['stop-first', 'start-first'] },
  monitor: text,
  max_failure_ratio: number,
  failure_action: { enum: ['pause', 'continue', 'rollback'] },
});

const deploy = object(
  {
    mode: { enum: ['replicated', 'global', 'replicated-job', 'global-job'] },
    replicas: integer,
    labels: listOrMap,
    resources,
    restart_policy: object({
      condition: { enum: ['none', 'on-failure', 'any'] },
      delay: text,
      max_attempts: integer,
      window: text,
    }),
    update_config: update,
    rollback_config: update,
    placement: object({
      constraints: listOf(string),
      preferences: listOf(object({ spread: string })),
      max_replicas_per_node: integer,
    }),
    endpoint_mode: { enum: ['vip', 'dnsrr'] },
    'x-affinity': { enum: ['client', 'none'] },
    'x-fencing': { enum: ['auto', 'always', 'never'] },
    'x-rebalance': { enum: ['auto', 'manual'] },
    'x-drift': { enum: ['repair', 'report'] },
  },
  'deploy',
);

const build = object(
  {
    context: string,
    dockerfile: string,
    dockerfile_inline: string,
    args: listOrMap,
    target: string,
    labels: listOrMap,
    tags: listOf(string),
    no_cache: bool,
    pull: bool,
  },
  'build',
);

const port = object({
  name: string,
  target: integer,
  published: integer,
  host_ip: string,
  protocol: { enum: ['tcp', 'udp', 'sctp'] },
  app_protocol: string,
  mode: { enum: ['ingress', 'host'] },
  'x-source': { enum: ['keep', 'node'] },
});

const mount = object({
  type: { enum: ['bind', 'volume', 'tmpfs', 'npipe', 'cluster', 'image'] },
  source: string,
  target: string,
  read_only: bool,
  consistency: string,
  bind: object({
    propagation: { enum: ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'] },
    create_host_path: bool,
    recursive: string,
    selinux: string,
  }),
  volume: object({ nocopy: bool, subpath: string, labels: listOrMap }),
  tmpfs: object({ size: text, mode: integer }),
  image: object({ subpath: string }),
});

const fileReference: Schema = {
  anyOf: [string, object({ source: string, target: string, uid: text, gid: text, mode: integer, 'x-signal': text })],
};

const dependency = object({
  condition: { enum: ['service_started', 'service_healthy', 'service_completed_successfully'] },
  restart: bool,
  required: bool,
});

const service = object(
  {
    image: string,
    build: { anyOf: [string, build] },
    command: nullableStringOrList,
    entrypoint: nullableStringOrList,
    environment: listOrMap,
    env_file: {
      anyOf: [string, listOf({ anyOf: [string, object({ path: string, required: bool, format: { enum: ['raw'] } })] })],
    },
    labels: listOrMap,
    annotations: listOrMap,
    extends: { anyOf: [string, object({ service: string, file: string })] },
    ports: listOf({ anyOf: [{ type: ['string', 'number'] }, port] }),
    expose: listOf({ type: ['string', 'number'] }),
    volumes: listOf({ anyOf: [string, mount] }),
    tmpfs: stringOrList,
    networks: {
      anyOf: [
        listOf(string),
        {
          type: 'object',
          additionalProperties: nullable(
            object(
              {
                aliases: listOf(string),
                ipv4_address: string,
                ipv6_address: string,
                mac_address: string,
                interface_name: string,
                priority: integer,
                gw_priority: integer,
              },
              'attachment',
            ),
          ),
        },
      ],
    },
    network_mode: string,
    links: listOf(string),
    mac_address: string,
    depends_on: { anyOf: [listOf(string), { type: 'object', additionalProperties: dependency }] },
    healthcheck,
    deploy,
    restart: { type: ['string', 'boolean'] },
    scale: integer,
    container_name: string,
    hostname: string,
    domainname: string,
    user: text,
    group_add: listOf(text),
    working_dir: string,
    tty: bool,
    stdin_open: bool,
    read_only: bool,
    privileged: bool,
    init: bool,
    cap_add: listOf(string),
    cap_drop: listOf(string),
    security_opt: listOf(string),
    sysctls: listOrMap,
    ulimits: {
      type: 'object',
      additionalProperties: { anyOf: [{ type: ['integer', 'string'] }, object({ soft: integer, hard: integer })] },
    },
    devices: listOf({ anyOf: [string, object({ source: string, target: string, permissions: string })] }),
    extra_hosts: listOrMap,
    dns: stringOrList,
    dns_search: stringOrList,
    dns_opt: listOf(string),
    shm_size: text,
    oom_score_adj: integer,
    stop_signal: text,
    stop_grace_period: text,
    pull_policy: string,
    profiles: listOf(string),
    secrets: listOf(fileReference),
    configs: listOf(fileReference),
    logging: object({ driver: string, options: valueMap }),
    pid: nullable(string),
    ipc: string,
    mem_limit: text,
    memswap_limit: text,
    mem_reservation: text,
    cpus: number,
    cpu_shares: integer,
    cpuset: string,
    pids_limit: integer,
    blkio_config: blockIo,
    platform: string,
    post_start: listOf(hook),
    pre_stop: listOf(hook),
  },
  'service',
);

const external: Schema = { anyOf: [bool, object({ name: string })] };

const network = nullable(
  object(
    {
      name: string,
      driver: string,
      driver_opts: valueMap,
      attachable: bool,
      internal: bool,
      enable_ipv4: bool,
      enable_ipv6: bool,
      external,
      labels: listOrMap,
      ipam: object({
        driver: string,
        options: valueMap,
        config: listOf(
          object({ subnet: string, ip_range: string, gateway: string, aux_addresses: valueMap }, 'ipamConfig'),
        ),
      }),
    },
    'network',
  ),
);

const volume = nullable(object({ name: string, driver: string, driver_opts: valueMap, external, labels: listOrMap }));

const fileKeys = {
  name: string,
  file: string,
  environment: string,
  external,
  labels: listOrMap,
  template_driver: string,
};
const file = object(fileKeys, 'file');
const config = object({ ...fileKeys, content: string }, 'file');

const namePattern = '^[a-zA-Z0-9._-]+$';
const named = (schema: Schema): Schema => ({
  anyOf: [
    { type: 'object', patternProperties: { '^x-': {}, [namePattern]: schema }, additionalProperties: false },
    { type: 'null' },
  ],
});

/** A compose file, all keys of the specification known. Extensions are allowed at every level. */
export const COMPOSE_SCHEMA: Schema = object(
  {
    version: text,
    name: string,
    services: named(service),
    networks: named(network),
    volumes: named(volume),
    secrets: named(file),
    configs: named(config),
  },
  'top',
);
