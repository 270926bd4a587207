/**
 * What one container shall be: the user's intent, as the converter made it from a compose service. Readonly, JSON-shaped,
 * and structurally equal to the messages of `specs.proto`, so that the codec is a validation and not a translation.
 * Absent optional fields mean "not asked for": the engine's default applies. Byte sizes are bytes, times milliseconds.
 */

/** One `NAME=value` each, as execve takes them. */
export type Environment = readonly string[];
export type Labels = Readonly<Record<string, string>>;

export type MountPropagation = 'rprivate' | 'private' | 'rshared' | 'shared' | 'rslave' | 'slave';

export interface BindMount {
  readonly type: 'bind';
  /** Absolute path on the node. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly propagation: MountPropagation;
  /** Make a missing source directory (compose's short syntax does, the long one unless told otherwise). */
  readonly createHostPath: boolean;
}

export interface VolumeMount {
  readonly type: 'volume';
  /** Name of the volume on the node; empty for an anonymous volume, which belongs to the container. */
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** Do not fill an empty volume with what the image has at the target. */
  readonly noCopy: boolean;
  /** A folder inside the volume to mount instead of its root; empty for the root. */
  readonly subpath: string;
  /** Driver and options, to make the volume with when the node has none of that name. */
  readonly driver: string;
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly labels: Labels;
}

export interface TmpfsMount {
  readonly type: 'tmpfs';
  readonly target: string;
  readonly readOnly: boolean;
  /** 0: the kernel's default, half of the memory. */
  readonly sizeBytes: number;
  /** Permission bits, e.g. 0o1777. */
  readonly mode: number;
}

export type Mount = BindMount | VolumeMount | TmpfsMount;

/** A secret or config as a file in the container. The content travels beside the task, never in the spec. */
export interface FileReference {
  /** Name of the secret or config object in the cluster. */
  readonly name: string;
  /** Absolute path in the container. */
  readonly target: string;
  readonly uid: number;
  readonly gid: number;
  /** Permission bits, e.g. 0o444. */
  readonly mode: number;
  /** "SIGHUP": what the main process gets when a running container has another content of it; absent: nothing. */
  readonly signal?: string;
}

/** How health is asked for. Docker's defaults: 30 s, 30 s, 3 retries, no start period, 5 s start interval. */
export interface HealthCheck {
  /** ['CMD', argv…], ['CMD-SHELL', line], ['NONE'] to switch the image's check off; empty: the image's test. */
  readonly test: readonly string[];
  readonly intervalMs?: number;
  readonly timeoutMs?: number;
  readonly retries?: number;
  readonly startPeriodMs?: number;
  readonly startIntervalMs?: number;
}

export interface Ulimit {
  /** Without RLIMIT_, lower case: "nofile". */
  readonly name: string;
  readonly soft: number;
  readonly hard: number;
}

export interface DeviceMapping {
  readonly source: string;
  readonly target: string;
  /** Of r, w, m. */
  readonly permissions: string;
}

export interface LogConfig {
  /** "json-file" (with options max-size, max-file), "local", or "none". */
  readonly driver: string;
  readonly options: Readonly<Record<string, string>>;
}

export interface ContainerSpec {
  /** As the user wrote it: "nginx:1.27", "registry.local:5000/app@sha256:…". */
  readonly image: string;
  /** Replaces the image's entrypoint; `null`/absent: the image's; []: none. Setting it drops the image's command. */
  readonly entrypoint?: { readonly args: readonly string[] };
  /** Replaces the image's command; absent: the image's. */
  readonly command?: { readonly args: readonly string[] };
  readonly env: Environment;
  /** Empty: the image's. */
  readonly workingDir: string;
  /** "name|uid[:group|gid]"; empty: the image's. */
  readonly user: string;
  /** Additional groups, by name or number. */
  readonly groups: readonly string[];
  /** Empty: the first 12 digits of the container id. */
  readonly hostname: string;
  readonly domainname: string;
  readonly labels: Labels;
  readonly mounts: readonly Mount[];
  readonly secrets: readonly FileReference[];
  readonly configs: readonly FileReference[];
  readonly healthCheck?: HealthCheck;
  /** "SIGTERM", "15"; empty: the image's, else SIGTERM. */
  readonly stopSignal: string;
  /** From the stop signal to SIGKILL; Docker's default is 10 s. */
  readonly stopGraceMs: number;
  readonly tty: boolean;
  readonly openStdin: boolean;
  readonly readOnly: boolean;
  readonly privileged: boolean;
  /** Run our reaper as PID 1. */
  readonly init: boolean;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  /** "no-new-privileges", "seccomp=unconfined", "seccomp=/path.json". */
  readonly securityOpt: readonly string[];
  readonly sysctls: Readonly<Record<string, string>>;
  readonly ulimits: readonly Ulimit[];
  readonly devices: readonly DeviceMapping[];
  /** "name=address" each. */
  readonly extraHosts: readonly string[];
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  /** Size of /dev/shm; 0: 64 MiB. */
  readonly shmBytes: number;
  readonly oomScoreAdj: number;
  readonly pullPolicy: PullPolicy;
  /** "host" or "private"; empty: private. */
  readonly pidMode: string;
  readonly ipcMode: string;
  /** Run in the container one after the other, when it has started and before it counts as running; absent: none. */
  readonly postStart?: readonly Hook[];
  /** Run in the container before it is stopped, within the stop grace; absent: none. */
  readonly preStop?: readonly Hook[];
}

/** A command that is run in a container at a moment of its life. */
export interface Hook {
  readonly command: readonly string[];
  /** Empty: the container's. */
  readonly user: string;
  readonly privileged: boolean;
  /** Empty: the container's. */
  readonly workingDir: string;
  /** Added to the container's. */
  readonly env: Environment;
}

/** When the node asks a registry for the image. "build" is settled before the project is applied. */
export type PullPolicy = 'missing' | 'always' | 'never';

/** 0 or absent: unlimited. */
export interface ResourceLimits {
  /** Thousand-millionths of a CPU: 1.5 CPUs are 1_500_000_000. */
  readonly nanoCpus?: number;
  readonly memoryBytes?: number;
  /** Memory and swap together; absent: twice the memory; -1: unlimited swap. */
  readonly memorySwapBytes?: number;
  readonly pids?: number;
  /** Relative weight, 2..262144, default 1024. */
  readonly cpuShares?: number;
  /** "0-3,5" */
  readonly cpusetCpus?: string;
  /** Absent: none. */
  readonly blockIo?: BlockIo;
}

/** What is allowed at block devices of the node; absent or empty: no limit. */
export interface BlockIo {
  /** Relative, 10 to 1000; absent: the kernel's default. */
  readonly weight?: number;
  readonly weightDevices?: readonly BlockIoDevice[];
  /** Bytes a second. */
  readonly readBps?: readonly BlockIoDevice[];
  readonly writeBps?: readonly BlockIoDevice[];
  /** Operations a second. */
  readonly readIops?: readonly BlockIoDevice[];
  readonly writeIops?: readonly BlockIoDevice[];
}

export interface BlockIoDevice {
  /** "/dev/sda", on the node. */
  readonly path: string;
  readonly value: number;
}

export interface ResourceReservations {
  readonly nanoCpus?: number;
  readonly memoryBytes?: number;
  /** What of the node's own kinds of resources is needed; absent: nothing. */
  readonly generic?: readonly GenericResource[];
}

/** So many of a resource that nodes name themselves: GPUs, licences, slots of anything that is scarce. */
export interface GenericResource {
  readonly kind: string;
  /** At least 1; of named ones the number of names. */
  readonly count: number;
  /** Each one's name, where they are told apart; empty: only their number counts, or none in particular are asked for. */
  readonly names: readonly string[];
}
