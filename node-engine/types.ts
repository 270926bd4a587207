/**
 * The engine's door: what the agent, the build and the Docker API see of it. It knows containers, images, networks and
 * volumes, and has never heard of services. All methods may throw TsswarmError with the codes named beside them.
 */
import type { ContainerId, NetworkId } from '../base/ids.ts';
import type { DirectLink } from '../base/network-driver.ts';
import type {
  ContainerSpec,
  Drift,
  HealthCheck,
  HealthState,
  Labels,
  LiveFeature,
  LogConfig,
  ResourceLimits,
} from '../proto/types/index.ts';

export type { ContainerId, NetworkId, HealthState };

// ---------------------------------------------------------------------------------------------- containers

/** One interface of a container. */
export interface SandboxInterface {
  readonly networkId: NetworkId;
  /** "10.128.0.5" */
  readonly ipv4: string;
  /** Prefix length of the subnet. */
  readonly prefix: number;
  /** Default route; empty for an internal network. The first interface with one wins. */
  readonly gateway: string;
  /** Absent: the interface has no IPv6. Its `gateway` is as that of IPv4, for itself. */
  readonly ipv6?: { readonly address: string; readonly prefix: number; readonly gateway: string };
  /** "02:42:ac:11:65:43"; absent: it follows from the IPv4 address. */
  readonly macAddress?: string;
  /** What the container calls it, at most 15 characters; absent: "eth" and its place in the list. */
  readonly name?: string;
  /** It is on a card of the node itself, with packets of `mtu` bytes (0: as large as the card's). Absent: on the network's bridge. */
  readonly direct?: DirectLink & { readonly mtu: number };
}

export interface SandboxRequest {
  /**
   * "networks": a namespace of its own with the interfaces; "none": only loopback; "host": the node's; "container": that of another
   * one, which has the interfaces already.
   */
  readonly mode: 'networks' | 'none' | 'host' | 'container';
  /** Whose namespace it is; with the mode "container" only. */
  readonly container?: ContainerId;
  readonly interfaces: readonly SandboxInterface[];
}

/** A file with its content: secrets and configs. */
export interface FileContent {
  readonly target: string;
  readonly uid: number;
  readonly gid: number;
  readonly mode: number;
  readonly data: Uint8Array;
  /** What the main process gets when the content changes while it runs; absent: nothing. */
  readonly signal?: string;
}

export interface ContainerCreate {
  readonly id: ContainerId;
  /** "shop-web-1" */
  readonly name: string;
  readonly spec: ContainerSpec;
  /** Image id (config digest "sha256:…") as `Images.resolve` gave it: what is run, whatever the tag says later. */
  readonly imageId: string;
  readonly limits: ResourceLimits;
  readonly log: LogConfig;
  readonly sandbox: SandboxRequest;
  /** Files on a tmpfs: never on disk. */
  readonly secrets: readonly FileContent[];
  readonly configs: readonly FileContent[];
  /** Labels beside `spec.labels` that find the container again: task id, node id. */
  readonly labels: Labels;
  /** A stopped container whose writable layer and anonymous volumes move to this one; it is removed by that. */
  readonly adopt: ContainerId | '';
  /** It is killed when the node's lease is over, whether or not the engine runs; absent: it is not. */
  readonly fenced?: boolean;
  /** Which version of its spec this is, in the caller's own count: the engine keeps it and says it again. */
  readonly specVersion?: number;
}

/** What somebody has changed by hand, of one look. */
export type FoundDrift = Omit<Drift, 'at' | 'count'>;

/** What a container that is there shall be. Its image, its writable layer and what else a process cannot survive stay. */
export type ContainerUpdate = Omit<ContainerCreate, 'adopt' | 'imageId'>;

export type ContainerState = 'created' | 'running' | 'exited';

export interface ContainerInfo {
  readonly id: ContainerId;
  readonly name: string;
  readonly imageId: string;
  /** As written in the spec. */
  readonly image: string;
  readonly labels: Labels;
  readonly state: ContainerState;
  /** 0 unless running. */
  readonly pid: number;
  readonly createdAt: number;
  /** ms since the epoch; 0 before. */
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly exit: ExitStatus | undefined;
  /** What would be executed: entrypoint and command, image's defaults filled in. */
  readonly argv: readonly string[];
  /** As resolved from spec and image; undefined without a check. */
  readonly healthCheck: ResolvedHealthCheck | undefined;
  readonly stopSignal: string;
  readonly tty: boolean;
  /** Of the spec that it has; absent: nobody said. */
  readonly specVersion?: number;
  /** IPv4 addresses of its interfaces, or of those that it shares; absent: the engine does not say. */
  readonly addresses?: readonly string[];
}

/** Every field filled: the image's values under the spec's, Docker's defaults under both. */
export interface ResolvedHealthCheck {
  /** argv to execute in the container (CMD-SHELL already wrapped in /bin/sh -c). */
  readonly argv: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly retries: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
}

export interface ExitStatus {
  /** 128 + n when killed by signal n. */
  readonly code: number;
  /** The kernel killed a process of the container for memory. */
  readonly oomKilled: boolean;
  /** ms since the epoch. */
  readonly at: number;
  /** Its supervisor killed it because the node's lease was over. */
  readonly leaseOver?: true;
}

export interface ExecRequest {
  readonly argv: readonly string[];
  /** Added to the container's environment. */
  readonly env: readonly string[];
  /** Empty: the container's. */
  readonly user: string;
  readonly workingDir: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly privileged: boolean;
  /** Initial size of the terminal. */
  readonly size?: TerminalSize;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export interface OutputChunk {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
}

/** A process with its streams in hand: an exec, or a container one has attached to. */
export interface ProcessSession {
  /** Ends when the process has closed its output. Slow reading slows the process of an exec, never a container. */
  readonly output: AsyncIterable<OutputChunk>;
  /** Resolves when the kernel has taken the bytes. */
  write(data: Uint8Array): Promise<void>;
  closeStdin(): void;
  resize(size: TerminalSize): void;
  /** "SIGTERM" or "15". */
  kill(signal: string): void;
  /** Resolves at the end of the process. */
  readonly exit: Promise<ExitStatus>;
  /** Lets go of the streams. An exec'ed process is killed, a container runs on. */
  close(): void;
}

export interface LogQuery {
  readonly follow: boolean;
  /** Last n lines; -1: all. */
  readonly tail: number;
  /** ms since the epoch; 0: no bound. */
  readonly since: number;
  readonly until: number;
}

export interface LogRecord {
  readonly stream: 'stdout' | 'stderr';
  /** Nanoseconds since the epoch. */
  readonly timeNs: bigint;
  /** One line with its newline, or a part of 16 KiB of a longer one. */
  readonly data: Uint8Array;
}

export interface Containers {
  /**
   * Makes bundle, writable layer, sandbox; nothing runs yet.
   * @throws IMAGE_NOT_FOUND, BIND_SOURCE_MISSING, MOUNT_FAILED, NETWORK_FAILED, ALREADY_EXISTS, INVALID_INPUT
   */
  create(request: ContainerCreate, signal?: AbortSignal): Promise<ContainerInfo>;
  /**
   * Returns when the container's process has been executed. Also starts a stopped container again (same writable layer).
   * @throws COMMAND_NOT_FOUND, COMMAND_NOT_EXECUTABLE, RUNTIME_FAILED, NOT_FOUND
   */
  start(id: ContainerId): Promise<ContainerInfo>;
  /** Stop signal, then SIGKILL to all after `graceMs`. Returns when all processes are gone; on a stopped one at once. */
  stop(id: ContainerId, options: { readonly graceMs: number; readonly signal?: string }): Promise<ExitStatus>;
  /** Sends a signal to the main process. @throws CONTAINER_NOT_RUNNING */
  kill(id: ContainerId, signal: string): Promise<void>;
  /** Removes everything of it, killing it first if it runs. Not existing is success. */
  remove(id: ContainerId): Promise<void>;
  /**
   * Takes a container that does not run off its networks: its addresses are free then. Starting it joins them again. A running
   * one stays, not existing is success.
   */
  leaveNetworks(id: ContainerId): Promise<void>;
  /**
   * Changes a container without ending it; one that does not run has the new spec when it is started. All of it or nothing, also when
   * the engine ends in the middle: the next one finishes it or takes it back. Absent: this engine cannot.
   * @returns what was changed, in words: "limits"; empty: it was so already
   * @throws NOT_SUPPORTED for what cannot be changed, NOT_FOUND, and what the kernel says; the container is as it was before
   */
  update?(request: ContainerUpdate): Promise<readonly string[]>;
  /**
   * Looks whether a running container still is what it was made: limits, processes, mounts, names, addresses. Reads, and starts no
   * process. A container that does not run, or has another `specVersion` than the request, has nothing to be found.
   * @param request what it shall be: with the contents of its files
   * @param options.repair makes what somebody has changed again what it was
   * @returns what was found changed; absent: this engine cannot look
   * @throws NOT_FOUND
   */
  checkDrift?(request: ContainerUpdate, options: { readonly repair: boolean }): Promise<readonly FoundDrift[]>;
  inspect(id: ContainerId): ContainerInfo | undefined;
  list(): readonly ContainerInfo[];
  /** Resolves at the exit of a running container, or at once for an exited one. */
  wait(id: ContainerId, signal?: AbortSignal): Promise<ExitStatus>;
  /**
   * TCP ports that processes of a container listen to on addresses that others reach. Absent, or undefined: it cannot be told, as
   * of one that has no network of its own.
   */
  listening?(id: ContainerId): Promise<ReadonlySet<number> | undefined>;
  exec(id: ContainerId, request: ExecRequest): Promise<ProcessSession>;
  /** Live output from now on and stdin, if open. */
  attach(id: ContainerId): Promise<ProcessSession>;
  logs(id: ContainerId, query: LogQuery, signal?: AbortSignal): AsyncIterable<LogRecord>;
  /** Adds lines to a container's log, of somebody else than its main process; with log driver "none" they go nowhere. Few: they do not rotate it. */
  appendLog(id: ContainerId, stream: LogRecord['stream'], lines: readonly string[]): Promise<void>;
}

/** What a container uses: counters since its start, but for memory and processes, which are of the moment. */
export interface ContainerUsage {
  readonly cpuNs: number;
  /** Without the page cache that the kernel gives up first (inactive_file), as Docker counts. */
  readonly memoryBytes: number;
  /** The machine's memory where the container has no limit. */
  readonly memoryLimitBytes: number;
  /** Of all its cards but lo; 0 where it uses the node's network. */
  readonly networkReceivedBytes: number;
  readonly networkSentBytes: number;
  readonly blockReadBytes: number;
  readonly blockWrittenBytes: number;
  readonly processes: number;
}

/** Processes as `ps -ef` lists them. */
export interface ProcessTable {
  readonly titles: readonly string[];
  readonly processes: readonly { readonly values: readonly string[] }[];
}

/** A file below some root. */
export interface FileStat {
  /** Last part of the path. */
  readonly name: string;
  readonly sizeBytes: number;
  /** st_mode: type and permissions. */
  readonly mode: number;
  /** ms since the epoch. */
  readonly modifiedAt: number;
  /** Of a symbolic link: where it leads; else empty. */
  readonly linkTarget: string;
}

/** Files below some root, which their owner may change meanwhile: no link leads out of it. Archives are tar. */
export interface FileTree {
  /** The folder by which a launcher on this machine finds the root of a running container; absent: of anything else. */
  readonly runDir?: string;
  /** Undefined: there is no such file. @param followLink what a link at the end of the path leads to, instead of the link */
  stat(path: string, followLink: boolean): Promise<FileStat | undefined>;
  /**
   * An archive of a file or folder.
   * @param options.name what it is called in there, "." for the content alone; empty: the last part of the path
   * @throws NOT_FOUND
   */
  pack(
    path: string,
    options: { readonly followLink: boolean; readonly name: string },
    signal?: AbortSignal,
  ): AsyncIterable<Uint8Array>;
  /**
   * Writes an archive's files below a folder, which must exist; owners as in the archive, or root's. A file replaces one of its
   * name; a folder and something else refuse each other.
   * @returns the content of files that was written
   * @throws NOT_FOUND, INVALID_INPUT, DISK_FULL
   */
  unpack(
    path: string,
    archive: AsyncIterable<Uint8Array>,
    options: { readonly keepOwners: boolean },
    signal?: AbortSignal,
  ): Promise<{ readonly bytes: number }>;
}

/** Looks into containers from outside. */
export interface Inspection {
  /**
   * Works on the files of a container: what its processes see, or what they would see when it does not run; then it is not started
   * or removed meanwhile. @throws NOT_FOUND
   */
  files<T>(id: ContainerId, work: (tree: FileTree) => Promise<T>): Promise<T>;
  /** @throws NOT_FOUND, CONTAINER_NOT_RUNNING */
  usage(id: ContainerId): ContainerUsage;
  /** Processes of a container, with their ids on the node. @throws NOT_FOUND, CONTAINER_NOT_RUNNING */
  processes(id: ContainerId): ProcessTable;
}

// ---------------------------------------------------------------------------------------------- images

/** Progress of a pull, load or build, shaped for rendering: one line per `id`. */
export interface ImageProgress {
  /** Layer digest (12 digits), build step "[2/5] RUN …", or "" for the image as a whole. */
  readonly id: string;
  readonly status: 'waiting' | 'downloading' | 'extracting' | 'done' | 'exists' | 'step' | 'output';
  /** Bytes so far and in all; 0 where unknown. */
  readonly current: number;
  readonly total: number;
  /** Output line of a build step, or a remark. */
  readonly text: string;
}

/** The part of an OCI image configuration that running needs (OCI image-spec, config.md). */
export interface ImageConfig {
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly exposedPorts: readonly string[];
  readonly volumes: readonly string[];
  readonly labels: Labels;
  readonly stopSignal: string;
  /** Docker's extension; test empty when absent. */
  readonly healthCheck: HealthCheck | undefined;
}

export interface ImageInfo {
  /** Digest of the config: "sha256:…". */
  readonly id: string;
  /** "docker.io/library/nginx:latest", fully qualified. */
  readonly names: readonly string[];
  /** Digest of the manifest as pulled; empty for loaded or built ones without. */
  readonly digest: string;
  readonly createdAt: number;
  /** Sum of the layers as unpacked. */
  readonly sizeBytes: number;
  readonly architecture: string;
  readonly config: ImageConfig;
  /** diff ids, lowest first. */
  readonly layers: readonly string[];
}

export interface Images {
  /** The local image of that name, digest or id prefix; undefined when there is none. */
  find(reference: string): ImageInfo | undefined;
  list(): readonly ImageInfo[];
  /**
   * Pulls from the registry, whatever is local. Bytes of layers that are here already are not fetched.
   * @throws IMAGE_NOT_FOUND, REGISTRY_UNAVAILABLE, DIGEST_MISMATCH, DISK_FULL, INVALID_INPUT
   */
  pull(reference: string, onProgress: (progress: ImageProgress) => void, signal?: AbortSignal): Promise<ImageInfo>;
  /** Reads a `docker save` or OCI archive (tar, gzip or zstd allowed). @throws CORRUPT, DISK_FULL */
  load(
    archive: AsyncIterable<Uint8Array>,
    onProgress: (progress: ImageProgress) => void,
  ): Promise<readonly ImageInfo[]>;
  tag(id: string, name: string): Promise<void>;
  /** Removes a name, and the image with its layers when it was the last and no container uses it. @throws IN_USE, NOT_FOUND */
  remove(reference: string): Promise<void>;
}

export interface BuildRequest {
  /** Absolute folder of the context. */
  readonly context: string;
  /** Path relative to the context; empty: "Dockerfile". */
  readonly dockerfile: string;
  /** The Dockerfile's text itself, instead of a file; empty: none. */
  readonly dockerfileInline: string;
  readonly args: Readonly<Record<string, string>>;
  readonly target: string;
  readonly labels: Labels;
  readonly names: readonly string[];
  readonly noCache: boolean;
  readonly pull: boolean;
}

export interface Builder {
  /** @throws BUILD_FAILED with the step and the last output, INVALID_INPUT with `where` in the Dockerfile */
  build(request: BuildRequest, onProgress: (progress: ImageProgress) => void, signal?: AbortSignal): Promise<ImageInfo>;
}

// ---------------------------------------------------------------------------------------------- networks, volumes

export interface BridgeRequest {
  readonly id: NetworkId;
  /** For messages: "shop_default". */
  readonly name: string;
  /** "10.128.0.0/24" */
  readonly subnet: string;
  readonly gateway: string;
  readonly internal: boolean;
  /** 0: 1500, or with `underlay` what the way to other nodes leaves. */
  readonly mtu: number;
  /**
   * Of an overlay network: the address that this node's packets to other nodes come from; empty: the node has none. Absent: the
   * network is this node's alone.
   */
  readonly underlay?: string;
  /** Of an overlay network: its packets go by the encrypted way, which takes room too. */
  readonly encrypted?: boolean;
  /** Absent: the network has no IPv6. */
  readonly ipv6?: { readonly subnet: string; readonly gateway: string };
  /** Its containers are on a card of the node itself: there is no bridge, and the subnet is that of whatever is on the wire. */
  readonly direct?: DirectLink;
}

/** A port of the node that containers do not reach: of its control plane, or of what travels between nodes. */
export interface GuardedPort {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

export interface PortBackend {
  readonly ipv4: string;
  readonly ipv6?: string;
  readonly port: number;
}

/** One port of the node that is handed to backends in turn. */
export interface PortForward {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** Empty: every address of the node; "0.0.0.0" and "::": all of IPv4, all of IPv6. */
  readonly hostIp: string;
  readonly port: number;
  /**
   * In turn by chance; one that stands there twice gets twice as much. Callers over IPv6 get those that have it; where none has, they are
   * handed over by a process (tcp, udp), and seen as calls of the node itself.
   */
  readonly backends: readonly PortBackend[];
  /** Backends of this node, for what other nodes hand over; absent: nothing is handed over. */
  readonly meshBackends?: readonly PortBackend[];
  /** The number by which nodes hand it to each other, where it is not `port`. */
  readonly meshPort?: number;
  /** A caller is led to the same backend again, by its address; absent: to any. */
  readonly affinity?: 'client';
  /**
   * What is handed to other nodes keeps the caller's address, and answers come back by this node; absent: it gets this node's. Nobody is
   * handed over by a process.
   */
  readonly keepsSource?: boolean;
}

/** Another node that ports are handed to, and that hands over its own. */
export interface PortNode {
  /** In the mesh: "169.254.192.2". */
  readonly meshAddress: string;
  /** Where calls of that node itself come from, of both families. */
  readonly addresses: readonly string[];
}

/** A chain of somebody else's that stops packets of containers: what they send to other machines, what these send to them. */
export interface ForwardDrop {
  /** "ip filter FORWARD" */
  readonly chain: string;
  readonly out: boolean;
  readonly into: boolean;
}

/** What a node's network is like. */
export interface NetworkSurvey {
  /** The kernel forwards IPv4. */
  readonly forwarding: boolean;
  readonly bridges: readonly {
    readonly id: NetworkId;
    readonly name: string;
    readonly up: boolean;
    readonly mtu: number;
    /** "10.128.0.1/24" */
    readonly addresses: readonly string[];
  }[];
  /** Names of the bridges that our rules know; undefined: our rules are gone. */
  readonly ruled: readonly string[] | undefined;
  /** Of the tunnel that is there while the way to others is tried; absent: there is none. */
  readonly probeMtu?: number;
  /** VXLAN devices of others than this daemon. */
  readonly foreignTunnels: readonly { readonly name: string; readonly vni: number; readonly port: number }[];
  readonly drops: readonly ForwardDrop[];
  /** IPv4 addresses of everything but our bridges. */
  readonly addresses: readonly { readonly device: string; readonly address: string }[];
  /** Subnets that the node has routes to, those of our networks left out. */
  readonly routes: readonly string[];
}

export interface Networks {
  /**
   * Makes or repairs the bridge with its address, forwarding and masquerading; of a direct network the VLAN that it names. Idempotent.
   * @throws NETWORK_FAILED; NOT_SUPPORTED where the kernel has no such links
   */
  ensureBridge(request: BridgeRequest): Promise<void>;
  removeBridge(id: NetworkId): Promise<void>;
  /** Networks of which this node has made something that is to be removed. */
  listBridges(): Promise<readonly NetworkId[]>;
  /** Takes away the rules of bridges that somebody else has removed: they are in no list any more. @throws NETWORK_FAILED */
  forgetLost?(): Promise<void>;
  /** Drivers beside bridge and overlay that the kernel has what it takes for: "macvlan", "ipvlan". */
  optionalDrivers?(): Promise<readonly string[]>;
  /** Looks at the node's network; absent: it cannot be looked at. @throws NETWORK_FAILED */
  survey?(): Promise<NetworkSurvey>;
  /**
   * Says which ports of the node its containers do not reach. Those of UDP they reach on no other machine either: what comes from
   * the node's address there is believed. @throws NETWORK_FAILED
   */
  guardPorts(ports: readonly GuardedPort[]): Promise<void>;
  /**
   * Makes the node's port table exactly this, in one nftables transaction. Ports that another process holds on the node
   * are reported, not taken.
   * @param nodes the other nodes, for ports that keep the caller's address; absent: there are none
   * @returns the forwards that could not be made, with the reason
   */
  setPorts(
    forwards: readonly PortForward[],
    nodes?: readonly PortNode[],
  ): Promise<readonly { readonly forward: PortForward; readonly reason: string }[]>;
}

/**
 * The tunnel of an overlay network to other nodes, the one of the mesh that leads published ports from node to node, or one that is made
 * for a moment to try the way to others.
 */
export type TunnelId = NetworkId | 'mesh' | 'probe';

export interface TunnelRequest {
  readonly id: TunnelId;
  /** For messages: "shop_default". */
  readonly name: string;
  /** VXLAN network identifier. */
  readonly vni: number;
  /** UDP port, here and on the other nodes. */
  readonly port: number;
  /** Address that packets come from; one that is not this node's own is left to the route. */
  readonly local: string;
  /** Its packets take the encrypted way and no other; the entries' peers are addresses of that. The tunnel goes with this link of it. */
  readonly encrypted?: SecureSlot;
  /** Of the mesh and the probe: this node's address in it, "169.254.192.1/18". Absent: the tunnel is a port of its network's bridge. */
  readonly address?: string;
}

/** Where an address is that is on another node. */
export interface TunnelEntry {
  readonly ipv4: string;
  readonly ipv6?: string;
  readonly mac: string;
  /** Address of that node for packets from others. */
  readonly peer: string;
}

export interface TunnelChange {
  readonly remove: readonly TunnelEntry[];
  /** New ones and those that lead elsewhere now. */
  readonly put: readonly TunnelEntry[];
}

/**
 * Two links make up the encrypted way of a node, each with a key and a port of its own: one carries everything, the other is there
 * while a key is rotated, and stays in the place of the first.
 */
export type SecureSlot = 'main' | 'alternate';

/** A key of this node, as others know it. */
export interface SecureKey {
  readonly slot: SecureSlot;
  /** Base64. */
  readonly publicKey: string;
  /** Wall time, ms. */
  readonly madeAt: number;
}

/** Another node, by one of its keys. */
export interface SecurePeer {
  /** Base64. */
  readonly publicKey: string;
  /** Address and UDP port of the node for packets from others. */
  readonly endpoint: string;
  readonly port: number;
  /** The node's address in the encrypted way that goes with this key. */
  readonly address: string;
  /** It is asked for an answer, without anything to send, until one comes, and further. */
  readonly isTried: boolean;
}

/** The encrypted way to other nodes. */
export interface SecureRequest {
  /** Address that its packets come from. */
  readonly local: string;
  /** One for each key of this node. */
  readonly links: readonly {
    readonly slot: SecureSlot;
    /** This node's address in it, "169.254.64.1/18". */
    readonly address: string;
    /** UDP. */
    readonly port: number;
    readonly peers: readonly SecurePeer[];
  }[];
  /** By which of the links packets to a peer's address go. */
  readonly routes: readonly { readonly to: string; readonly slot: SecureSlot }[];
}

/** What there has been between a link and a peer. */
export interface SecureSession {
  readonly slot: SecureSlot;
  /** The peer's, base64. */
  readonly publicKey: string;
  /** Whether the two have ever agreed on a session. */
  readonly isProven: boolean;
  /** All that ever came from the peer. */
  readonly receivedBytes: number;
}

export interface SecureLink {
  /** Finds what an earlier life of the engine has made; called once, before everything else. */
  recover(): Promise<void>;
  /** Of this node, the oldest first: made anew with their links, not with the daemon. Empty: the node has no WireGuard. */
  keys(): readonly SecureKey[];
  /** A key for the link that is not there: `ensure` makes it. @throws NOT_SUPPORTED */
  addKey(slot: SecureSlot, madeAt: number): void;
  /** Whether all links that were made are. */
  isThere(): Promise<boolean>;
  /** Makes it or mends it; peers that stay notice nothing. @throws NOT_SUPPORTED, NETWORK_FAILED */
  ensure(request: SecureRequest): Promise<{ readonly isNew: boolean }>;
  /** @throws NETWORK_FAILED */
  sessions(): Promise<readonly SecureSession[]>;
  /** Takes one link away with its key; without a slot all of them, and the newest key is kept. Not existing is success. */
  remove(slot?: SecureSlot): Promise<void>;
}

/** VXLAN between nodes: everything that is to be reached is entered, nothing is learned or flooded. */
export interface Tunnels {
  /** What is there of networks and the mesh, also of an earlier life; what is there of an entry by half has no peer. */
  list(): Promise<readonly { readonly id: TunnelId; readonly entries: readonly TunnelEntry[] }[]>;
  /**
   * Makes the tunnel, or mends it, without interruption where the kernel allows it. A bridge must be there before.
   * @returns whether it is a new one, without entries
   * @throws NETWORK_FAILED, also when somebody else has the identifier on that port
   */
  ensure(request: TunnelRequest): Promise<{ readonly isNew: boolean }>;
  /** @throws NETWORK_FAILED: parts of the change may hold then */
  change(id: TunnelId, change: TunnelChange): Promise<void>;
  /** Not existing is success. */
  remove(id: TunnelId): Promise<void>;
  readonly secure: SecureLink;
}

/** Network namespaces of containers; used by the engine itself. */
export interface Sandboxes {
  /**
   * Makes the namespace with its interfaces, or makes what is there so (what exists is kept, also of an interface of which only the
   * address is another one); what is too much goes last. Returns its path.
   */
  create(id: ContainerId, request: SandboxRequest): Promise<string>;
  path(id: ContainerId): string;
  /** TCP ports listened to inside, but on loopback alone; undefined: it cannot be told. */
  listening(id: ContainerId): Promise<ReadonlySet<number> | undefined>;
  remove(id: ContainerId): Promise<void>;
  list(): Promise<readonly ContainerId[]>;
  /**
   * What of its interfaces is not as asked for: links, addresses, routes. Only reads; a namespace of another container, or the node's,
   * has nothing to be found. @throws NETWORK_FAILED
   */
  check(id: ContainerId, request: SandboxRequest, side: SandboxSide): Promise<readonly SandboxDifference[]>;
  /** Makes it what was asked for, touching nothing else. @throws NETWORK_FAILED */
  mend(id: ContainerId, request: SandboxRequest, side: SandboxSide): Promise<void>;
}

/** What is looked at: all of it, or only the node's side, where the container's processes may do as they like with theirs. */
export type SandboxSide = 'both' | 'node';

/** What of a namespace is not as it was made. */
export interface SandboxDifference {
  /** "address eth0" */
  readonly field: string;
  readonly expected: string;
  readonly found: string;
  /** Why it cannot be mended with the container. */
  readonly tolerated?: string;
}

export interface VolumeInfo {
  readonly name: string;
  readonly driver: string;
  readonly mountpoint: string;
  readonly labels: Labels;
  readonly createdAt: number;
}

export interface VolumeCreate {
  readonly name: string;
  /** "local" */
  readonly driver: string;
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly labels: Labels;
}

export interface Volumes {
  /** Makes it, or returns the one of that name. */
  ensure(request: VolumeCreate): Promise<VolumeInfo>;
  inspect(name: string): VolumeInfo | undefined;
  list(): readonly VolumeInfo[];
  /** Not existing is success. @throws IN_USE naming the container */
  remove(name: string): Promise<void>;
}

// ---------------------------------------------------------------------------------------------- the whole

export interface EngineInfo {
  readonly version: string;
  readonly hostname: string;
  readonly platform: { readonly os: string; readonly architecture: string };
  readonly nanoCpus: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly cgroup: 'v1' | 'v2' | 'hybrid';
  /** What can be changed in containers that run. */
  readonly live: readonly LiveFeature[];
}

/** The engine with what only people at a node ask for. */
export interface InspectableEngine extends Engine {
  readonly inspection: Inspection;
  /** Somebody is there who may have a container started next: what a start would wait for the kernel for begins now. Never fails. */
  expectStart(): void;
}

/** The node's lease, as the supervisors of fenced containers see it: they kill them when it is over, also when nobody is there to ask. */
export interface NodeLease {
  /** Milliseconds since the boot, in which a lease is counted: they go on while the machine is suspended. */
  now(): number;
  /** Its end, Infinity for none; undefined: nothing was set since the boot. */
  read(): number | undefined;
  /** Moves its end. A lease without end that gets one is seen within a second. @throws a system error */
  set(end: number): void;
}

export interface Engine {
  readonly containers: Containers;
  readonly images: Images;
  readonly builder: Builder;
  readonly networks: Networks;
  /** Absent: networks end at this node. */
  readonly tunnels?: Tunnels;
  readonly volumes: Volumes;
  /** Absent: fenced containers are not made. */
  readonly lease?: NodeLease;
  /** Whether a folder or file is seen by this machine alone, as far as the kind of its file system tells; absent: it always is. */
  isLocalPath?(path: string): boolean;
  /** Whether there is something at a path; absent: the engine knows of no paths. Of a file server that is gone it may never resolve. */
  readonly pathExists?: (path: string) => Promise<boolean>;
  info(): EngineInfo;
  /**
   * Takes running containers up again and collects what a crash left behind: mounts, sandboxes, cgroups, half-made
   * bundles, layers without an image. Called once, before anything else.
   */
  recover(): Promise<void>;
  /** Lets go of every handle. Containers run on. */
  close(): Promise<void>;
}
