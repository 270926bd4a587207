/**
 * A compose project in its one canonical form: every short syntax made long, every relative path absolute, every default
 * that the specification names filled in. Keys are those of the specification, so that it prints as a compose file.
 */
export interface ComposeProject {
  readonly name: string;
  readonly workingDir: string;
  readonly files: readonly string[];
  /** Active services only, in the order of the file. */
  readonly services: Readonly<Record<string, ComposeService>>;
  /** Services that the active profiles leave out. */
  readonly disabled: readonly string[];
  /** All profiles that the file names. */
  readonly profiles: readonly string[];
  readonly networks: Readonly<Record<string, ComposeNetwork>>;
  readonly volumes: Readonly<Record<string, ComposeVolume>>;
  readonly secrets: Readonly<Record<string, ComposeFile>>;
  readonly configs: Readonly<Record<string, ComposeFile>>;
}

export interface ComposePort {
  readonly mode: 'ingress' | 'host';
  readonly host_ip?: string;
  readonly target: number;
  /** As text, "" for "choose one"; a range "8000-8010" means one of these. */
  readonly published?: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly 'x-source'?: 'keep' | 'node';
}

export interface ComposeMount {
  readonly type: 'bind' | 'volume' | 'tmpfs';
  readonly source?: string;
  readonly target: string;
  readonly read_only?: boolean;
  readonly bind?: { readonly propagation?: string; readonly create_host_path?: boolean };
  readonly volume?: {
    readonly nocopy?: boolean;
    readonly subpath?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly tmpfs?: { readonly size?: number; readonly mode?: number };
}

export interface ComposeDependency {
  readonly condition: 'service_started' | 'service_healthy' | 'service_completed_successfully';
  readonly required: boolean;
  readonly restart?: boolean;
}

export interface ComposeFileReference {
  readonly source: string;
  readonly target: string;
  readonly uid?: string;
  readonly gid?: string;
  readonly mode?: number;
  /** What the main process gets when the content changes while it runs: "SIGHUP". */
  readonly 'x-signal'?: string;
}

/** A command in the container at a moment of its life. */
export interface ComposeHook {
  readonly command: readonly string[];
  readonly user?: string;
  readonly privileged?: boolean;
  readonly working_dir?: string;
  readonly environment?: Readonly<Record<string, string | null>>;
}

export interface ComposeHealthCheck {
  readonly test?: readonly string[];
  readonly interval?: number;
  readonly timeout?: number;
  readonly retries?: number;
  readonly start_period?: number;
  readonly start_interval?: number;
  readonly disable?: boolean;
}

export interface ComposeBuild {
  readonly context: string;
  readonly dockerfile: string;
  readonly dockerfile_inline?: string;
  readonly args?: Readonly<Record<string, string>>;
  readonly target?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly tags?: readonly string[];
  readonly no_cache?: boolean;
  readonly pull?: boolean;
}

export interface ComposeUpdateConfig {
  readonly parallelism?: number;
  readonly delay?: number;
  readonly order?: 'stop-first' | 'start-first';
  readonly monitor?: number;
  readonly max_failure_ratio?: number;
  readonly failure_action?: 'pause' | 'continue' | 'rollback';
}

export interface ComposeDeploy {
  readonly mode?: 'replicated' | 'global' | 'replicated-job' | 'global-job';
  readonly replicas?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly resources?: {
    readonly limits?: { readonly cpus?: number; readonly memory?: number; readonly pids?: number };
    readonly reservations?: {
      readonly cpus?: number;
      readonly memory?: number;
      readonly generic_resources?: readonly {
        readonly discrete_resource_spec: { readonly kind: string; readonly value: number };
      }[];
      /** One of count and device_ids. */
      readonly devices?: readonly {
        readonly capabilities: readonly string[];
        readonly count?: number;
        readonly device_ids?: readonly string[];
      }[];
    };
  };
  readonly restart_policy?: {
    readonly condition?: 'none' | 'on-failure' | 'any';
    readonly delay?: number;
    readonly max_attempts?: number;
    readonly window?: number;
  };
  readonly update_config?: ComposeUpdateConfig;
  readonly rollback_config?: ComposeUpdateConfig;
  readonly placement?: {
    readonly constraints?: readonly string[];
    readonly preferences?: readonly { readonly spread: string }[];
    readonly max_replicas_per_node?: number;
  };
  readonly endpoint_mode?: 'vip' | 'dnsrr';
  /** Ours: `client`: who came once is led to the same container again. */
  readonly 'x-affinity'?: 'client' | 'none';
  /** Ours: what becomes of a container on a node that is cut off. */
  readonly 'x-fencing'?: 'auto' | 'always' | 'never';
  /** Ours: whether containers move by themselves when nodes come. */
  readonly 'x-rebalance'?: 'auto' | 'manual';
  /** Ours: what becomes of what somebody changes by hand on a container. */
  readonly 'x-drift'?: 'repair' | 'report';
}

/** Bytes and operations a second. */
export interface ComposeBlockIo {
  readonly weight?: number;
  readonly weight_device?: readonly { readonly path: string; readonly weight: number }[];
  readonly device_read_bps?: readonly ComposeRate[];
  readonly device_write_bps?: readonly ComposeRate[];
  readonly device_read_iops?: readonly ComposeRate[];
  readonly device_write_iops?: readonly ComposeRate[];
}

export interface ComposeRate {
  readonly path: string;
  readonly rate: number;
}

/** Durations in milliseconds, sizes in bytes. */
export interface ComposeService {
  readonly image?: string;
  readonly build?: ComposeBuild;
  readonly command: readonly string[] | null;
  readonly entrypoint: readonly string[] | null;
  /** `null`: named without a value and unset outside: not given to the container. */
  readonly environment: Readonly<Record<string, string | null>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ports: readonly ComposePort[];
  readonly expose?: readonly string[];
  readonly volumes: readonly ComposeMount[];
  readonly networks: Readonly<Record<string, ComposeAttachment | null>>;
  /** Of the interface on the first network. */
  readonly mac_address?: string;
  /** "db" or "db:database". */
  readonly links?: readonly string[];
  readonly network_mode?: string;
  readonly depends_on: Readonly<Record<string, ComposeDependency>>;
  readonly healthcheck?: ComposeHealthCheck;
  readonly deploy?: ComposeDeploy;
  readonly restart?: string;
  readonly scale?: number;
  readonly container_name?: string;
  readonly hostname?: string;
  readonly domainname?: string;
  readonly user?: string;
  readonly group_add?: readonly string[];
  readonly working_dir?: string;
  readonly tty?: boolean;
  readonly stdin_open?: boolean;
  readonly read_only?: boolean;
  readonly privileged?: boolean;
  readonly init?: boolean;
  readonly cap_add?: readonly string[];
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly ulimits?: Readonly<Record<string, { readonly soft: number; readonly hard: number }>>;
  readonly devices?: readonly { readonly source: string; readonly target: string; readonly permissions: string }[];
  readonly extra_hosts?: readonly string[];
  readonly dns?: readonly string[];
  readonly dns_search?: readonly string[];
  readonly dns_opt?: readonly string[];
  readonly shm_size?: number;
  readonly oom_score_adj?: number;
  readonly stop_signal?: string;
  readonly stop_grace_period?: number;
  readonly pull_policy?: string;
  readonly profiles?: readonly string[];
  readonly secrets: readonly ComposeFileReference[];
  readonly configs: readonly ComposeFileReference[];
  readonly logging?: { readonly driver?: string; readonly options?: Readonly<Record<string, string>> };
  readonly pid?: string;
  readonly ipc?: string;
  readonly mem_limit?: number;
  readonly memswap_limit?: number;
  readonly mem_reservation?: number;
  readonly cpus?: number;
  readonly cpu_shares?: number;
  readonly cpuset?: string;
  readonly pids_limit?: number;
  readonly blkio_config?: ComposeBlockIo;
  /** "linux/amd64" */
  readonly platform?: string;
  readonly post_start?: readonly ComposeHook[];
  readonly pre_stop?: readonly ComposeHook[];
}

export interface ComposeAttachment {
  readonly aliases?: readonly string[];
  readonly ipv4_address?: string;
  readonly ipv6_address?: string;
  readonly mac_address?: string;
  readonly interface_name?: string;
  readonly priority?: number;
  readonly gw_priority?: number;
}

export interface ComposeNetwork {
  /** Full name. */
  readonly name: string;
  readonly driver?: string;
  readonly driver_opts?: Readonly<Record<string, string>>;
  readonly internal?: boolean;
  readonly attachable?: boolean;
  readonly external?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  readonly enable_ipv4?: boolean;
  readonly enable_ipv6?: boolean;
  /** One entry for each family at most. */
  readonly ipam?: { readonly config?: readonly ComposeIpamConfig[] };
}

export interface ComposeIpamConfig {
  readonly subnet?: string;
  readonly ip_range?: string;
  readonly gateway?: string;
  readonly aux_addresses?: Readonly<Record<string, string>>;
}

export interface ComposeVolume {
  readonly name: string;
  readonly driver?: string;
  readonly driver_opts?: Readonly<Record<string, string>>;
  readonly external?: boolean;
  readonly labels?: Readonly<Record<string, string>>;
}

/** A secret or config. Exactly one of file, environment, content, external. */
export interface ComposeFile {
  readonly name: string;
  /** Absolute. */
  readonly file?: string;
  readonly environment?: string;
  readonly content?: string;
  /** Somebody else has made it: `name` is its name in the cluster. */
  readonly external?: boolean;
  /** The content is a template. */
  readonly template_driver?: 'golang';
  readonly labels?: Readonly<Record<string, string>>;
}
