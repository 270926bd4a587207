/** Requests and answers of the control, daemon, task, image and dispatcher services; see the .proto files for meanings. */
import type { DesiredProject, ProjectChange, FieldEffect } from './project.ts';
import type {
  Author,
  Cluster,
  Config,
  Drift,
  Network,
  NetworkSpec,
  Node,
  NodeDescription,
  NodeBindSources,
  NodeOverlay,
  Project,
  PublishedPort,
  Revision,
  Secret,
  SecretSpec,
  Service,
  ServiceSpec,
  Task,
  TaskSpec,
  Volume,
} from './objects.ts';
import type { OverlayPeer, TaskStatusUpdate } from './assignment.ts';

export interface ApplyProjectRequest {
  readonly project: DesiredProject;
  readonly dryRun: boolean;
  readonly removeOrphans: boolean;
  readonly forceRecreate: readonly string[];
  readonly onlyServices: readonly string[];
  readonly noRecreate: boolean;
  readonly noStart: boolean;
  /** Who asks, for the history. */
  readonly author?: Author;
}
export interface ApplyProjectResponse {
  readonly projectId: string;
  readonly revision: number;
  readonly changes: readonly ProjectChange[];
  readonly warnings: readonly string[];
}
export interface RemoveProjectRequest {
  readonly name: string;
  readonly removeVolumes: boolean;
  readonly services: readonly string[];
  readonly graceOverrideMs: number;
  readonly author?: Author;
}
export interface RemoveProjectResponse {
  readonly found: boolean;
  /** Names of networks that services of others are on: they stay. */
  readonly keptNetworks: readonly string[];
  /** Why, for people. */
  readonly warnings: readonly string[];
}
/** A service of no project. */
export interface CreateServiceRequest {
  readonly spec: ServiceSpec;
  readonly author?: Author;
}
export interface CreateServiceResponse {
  readonly serviceId: string;
  readonly warnings: readonly string[];
}
export interface UpdateServiceRequest {
  readonly serviceId: string;
  /** `meta.version` of the service that the spec was made from. */
  readonly version: number;
  readonly spec: ServiceSpec;
  readonly author?: Author;
  /** Only say what would change. */
  readonly dryRun?: boolean;
}
export interface UpdateServiceResponse {
  /** Paths of the spec fields that changed; none: it was so already. */
  readonly fields: readonly string[];
  /** Whether tasks are replaced. */
  readonly replaces: boolean;
  readonly warnings: readonly string[];
  /** What each of the fields does to tasks that run. */
  readonly effects?: readonly FieldEffect[];
}
export interface RollbackServiceRequest {
  readonly serviceId: string;
  readonly version: number;
  readonly author?: Author;
}
export interface RemoveServiceRequest {
  readonly serviceId: string;
  readonly author?: Author;
}
/** Exactly one is not empty. */
export interface ListRevisionsRequest {
  /** Name of a project. */
  readonly project: string;
  /** Id of a service of no project. */
  readonly serviceId: string;
}
export interface ListRevisionsResponse {
  /** The newest first; the bytes of configs are left out. */
  readonly revisions: readonly Revision[];
  /** Compose names of services that are not what the newest revision says: an update of them was rolled back. */
  readonly departed: readonly string[];
}
export type FileKind = 'secret' | 'config';
export interface CreateFileRequest {
  readonly kind: FileKind;
  readonly spec: SecretSpec;
}
export interface CreateFileResponse {
  readonly id: string;
}
export interface ListFilesRequest {
  readonly kind: FileKind;
}
export interface ListFilesResponse {
  /** Those of projects too; secrets without their bytes. */
  readonly files: readonly (Secret | Config)[];
}
export interface RemoveFileRequest {
  readonly kind: FileKind;
  readonly id: string;
}
/** A network of no project. */
export interface CreateNetworkRequest {
  /** With an empty driver: of the usual one. */
  readonly spec: NetworkSpec;
}
export interface CreateNetworkResponse {
  readonly id: string;
}
export interface RemoveNetworkRequest {
  readonly id: string;
}
export interface RollbackProjectRequest {
  readonly project: string;
  /** 0: the one before the newest. */
  readonly revision: number;
  readonly dryRun: boolean;
  readonly author?: Author;
}
export type Empty = Record<never, never>;
export interface GetClusterResponse {
  readonly cluster: Cluster;
}
export interface ListNodesResponse {
  readonly nodes: readonly Node[];
}
export interface ProjectRequest {
  /** Empty: all projects, and what belongs to none. */
  readonly project: string;
  /** Id of a service: only it and its tasks. */
  readonly serviceId?: string;
}
export interface ListObjectsRequest extends ProjectRequest {
  /** Who asks reads on where an answer ends. Absent or false: all in one message. */
  readonly inPages?: boolean;
  /** Only tasks whose ids come after this one. */
  readonly afterTask?: string;
}
export interface ListObjectsResponse {
  readonly projects: readonly Project[];
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
  readonly networks: readonly Network[];
  readonly volumes: readonly Volume[];
  /** There are more tasks: after this id. */
  readonly moreAfter?: string;
}
export interface WatchProjectEvent {
  readonly complete: boolean;
  readonly version: number;
  readonly services: readonly Service[];
  readonly tasks: readonly Task[];
  readonly removedServices: readonly string[];
  readonly removedTasks: readonly string[];
  readonly networks: readonly Network[];
  readonly volumes: readonly Volume[];
  readonly removedNetworks: readonly string[];
  readonly removedVolumes: readonly string[];
}
export interface ServicesRequest {
  readonly project: string;
  readonly services: readonly string[];
  readonly graceOverrideMs: number;
}
export interface ServicesResponse {
  readonly services: readonly string[];
}
export interface RunTaskRequest {
  /** Made what it asks for in the same transaction, before the task is made; the service itself is left as it runs. */
  readonly apply?: ApplyProjectRequest;
  readonly project: string;
  readonly service: string;
  /** Empty: the manager finds one. */
  readonly name: string;
  readonly spec: TaskSpec;
  readonly ports: readonly PublishedPort[];
  readonly autoRemove: boolean;
}
export interface RunTaskResponse {
  readonly taskId: string;
}
export interface StopTaskRequest {
  readonly taskId: string;
  readonly graceOverrideMs: number;
  readonly remove: boolean;
}
export interface WatchTaskRequest {
  readonly taskId: string;
}
export interface WatchTaskEvent {
  readonly task?: Task;
  readonly gone: boolean;
}

export interface DaemonStatusResponse {
  readonly nodeId: string;
  readonly clusterId: string;
  readonly version: string;
  readonly pid: number;
  readonly startedAt: number;
  readonly role: string;
  readonly raftState: string;
  readonly raftTerm: number;
  readonly raftCommit: number;
  readonly storeVersion: number;
  readonly hostname: string;
  readonly kernel: string;
  readonly cgroup: string;
  readonly stateDir: string;
  readonly containersRunning: number;
  readonly images: number;
  /** The node waits for the unlock key: it serves nothing but this, `unlock` and `leave`. */
  readonly locked: boolean;
  /** Id of the unlock key that locks the keys on this node's disk; empty: they are not locked. */
  readonly lockedBy: string;
  /** Absent while it is locked. */
  readonly identity?: IdentityStatus;
  /** Absent on a worker. */
  readonly store?: StoreStatus;
}
/** How a node stands with its cluster. */
export interface IdentityStatus {
  /** End of its certificate, wall time, ms. */
  readonly expiresAt: number;
  /** Why it could not be renewed when that was tried last; empty: it could. */
  readonly renewalProblem: string;
  /** Why it has no session with a manager; empty: it has. */
  readonly managerProblem: string;
}
export interface StoreStatus {
  readonly kind: 'raft' | 'etcd';
  /** etcd: its URL, without a password. */
  readonly place: string;
  /** etcd's own. */
  readonly members: readonly StoreMember[];
  /** Why it cannot be used at the moment; empty: it can. */
  readonly problem: string;
}
export interface StoreMember {
  readonly address: string;
  readonly version: string;
  readonly leader: boolean;
  readonly problem: string;
}
export interface LeaveResponse {
  /** What the user should know of it; absent: nothing. */
  readonly warning?: string;
}
export interface UnlockRequest {
  readonly key: string;
}
export interface ForceNewClusterResponse {
  /** The managers that were given up. */
  readonly managers: readonly { readonly nodeId: string; readonly hostname: string }[];
}
export interface LeaveRequest {
  readonly force: boolean;
}

export interface SessionRequest {
  readonly nodeId: string;
  readonly description: NodeDescription;
  /** The lease it is under now, ms; 0: one without end; absent: none. */
  readonly leaseMs?: number;
  /** The node acknowledges assignments that ask for it; who does not is never waited for. */
  readonly acknowledges?: boolean;
  /** Absent: it does not say. */
  readonly images?: NodeImages;
  /** Absent: it does not say. */
  readonly bindSources?: NodeBindSources;
}
/** Which images a node has: keys of their names and digests (base/image-key.ts). */
export interface NodeImages {
  readonly keys: readonly string[];
}
export interface AcknowledgeRequest {
  readonly sessionId: string;
  readonly nodeId: string;
  /** Everything up to and with the message of that number is true on the node. */
  readonly sequence: number;
}
export interface SessionMessage {
  readonly sessionId: string;
  readonly heartbeatMs: number;
  /** Where managers are reached now, "host:port"; said again when they change. */
  readonly managers: readonly string[];
  /** The node's lease from when it sent the request, ms; 0 or absent: without end. Only the first message gives one. */
  readonly leaseMs?: number;
  /** Paths that containers have mounted, or shall, of which the node says whether it has them; said again when they change. */
  readonly bindSources?: readonly string[];
}
export interface HeartbeatRequest {
  readonly sessionId: string;
  readonly nodeId: string;
  /** As in the session's request. */
  readonly leaseMs?: number;
  /** The last one: the daemon ends in an orderly way. It renews no lease. */
  readonly goodbye?: boolean;
  /** All of them, when they have changed since this session heard of them; absent: they have not. */
  readonly images?: NodeImages;
  /** When its keys are others than this session was told; absent: they are not. */
  readonly overlay?: NodeOverlay;
  /** All of them, when they are others than this session was told; absent: they are not. */
  readonly bindSources?: NodeBindSources;
}
export interface AssignmentsRequest {
  readonly sessionId: string;
  readonly nodeId: string;
}
export interface HeartbeatResponse {
  readonly heartbeatMs: number;
  /** The node's lease from when it sent the heartbeat, ms; 0 or absent: without end. */
  readonly leaseMs?: number;
}
export interface UpdateTaskStatusRequest {
  readonly sessionId: string;
  readonly nodeId: string;
  readonly updates: readonly TaskStatusUpdate[];
  readonly removedVolumes: readonly string[];
  readonly removedNetworks: readonly string[];
}

/** A task's container as the node has it. */
export interface ContainerSummary {
  readonly taskId: string;
  readonly containerId: string;
  /** What is executed, the image's defaults filled in. */
  readonly argv: readonly string[];
  /** ms since the epoch; 0: not yet. */
  readonly createdAt: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  /** Only when it was asked to look: what was found changed by hand; absent: nothing. */
  readonly drifts?: readonly Drift[];
}
export interface ListContainersRequest {
  /** Look now what somebody has changed of them by hand; absent: no. */
  readonly look?: boolean;
  /** Absent or empty: all of the node that is asked; else those of these tasks, wherever they are. */
  readonly taskIds?: readonly string[];
}
export interface ListContainersResponse {
  readonly containers: readonly ContainerSummary[];
  /** Nodes that were to be asked and could not be. */
  readonly unreachable?: readonly UnreachableNode[];
}
export interface UnreachableNode {
  readonly nodeId: string;
  readonly reason: string;
}
export interface TaskRequest {
  readonly taskId: string;
}
/** As `ps -ef` lists processes: titles, and as many values of each process. */
/** Looks for faults in the network of a node. */
export interface DoctorRequest {
  /** Empty: the node that is asked. */
  readonly nodeId: string;
  /** Others are asked at the same time and answer: the way to them is tried. */
  readonly probe: boolean;
  /** With `probe`: all nodes, as they are reached; absent: none. */
  readonly peers?: readonly OverlayPeer[];
}
export interface DoctorCheck {
  /** "forwarding", "firewall", … */
  readonly name: string;
  /** What was looked at; empty: the node. */
  readonly subject: string;
  readonly status: 'ok' | 'broken' | 'skipped';
  readonly message: string;
  /** What to do; empty: nothing. */
  readonly hint: string;
}
export interface DoctorResponse {
  readonly checks: readonly DoctorCheck[];
}
/** Begins to rotate the key of a node's encrypted networks. */
export interface RotateKeyRequest {
  /** Empty: the node that is asked. */
  readonly nodeId: string;
}
export interface RotateKeyResponse {
  /** `under-way`: a rotation is not done yet; `unused`: no encrypted network of the node leads to others. */
  readonly result: 'begun' | 'under-way' | 'unused';
}
export interface TopResponse {
  readonly titles: readonly string[];
  readonly processes: readonly { readonly values: readonly string[] }[];
}
export interface StatsRequest {
  readonly taskId: string;
  /** Time between samples, ms; 0: one sample is all. */
  readonly intervalMs: number;
}
/** What a container uses: counters since its start, but for memory and processes, which are of the moment. */
export interface StatsSample {
  /** ms, of a clock that only goes forward. */
  readonly atMs: number;
  readonly cpuNs: number;
  /** Without the page cache that the kernel would give up first, as Docker counts. */
  readonly memoryBytes: number;
  /** The machine's memory where the container has no limit. */
  readonly memoryLimitBytes: number;
  readonly networkReceivedBytes: number;
  readonly networkSentBytes: number;
  readonly blockReadBytes: number;
  readonly blockWrittenBytes: number;
  readonly processes: number;
}
/** A file in a container. */
export interface FileStat {
  /** Last part of the path. */
  readonly name: string;
  readonly sizeBytes: number;
  /** st_mode: type and permissions. */
  readonly mode: number;
  /** ms since the epoch. */
  readonly modifiedAt: number;
  /** Of a symbolic link: where it leads, in the container; else empty. */
  readonly linkTarget: string;
}
export interface PathRequest {
  readonly taskId: string;
  /** Absolute, or from the container's root. */
  readonly path: string;
  /** What a symbolic link at the end of the path leads to, instead of the link. */
  readonly followLink: boolean;
}
export interface StatPathResponse {
  /** Absent: there is no such file. */
  readonly stat?: FileStat;
  /** Folder of the running container on its node, for a launcher there; absent: it does not run. */
  readonly runDir?: string;
}
export interface CopyFromRequest extends PathRequest {
  /** What it is called in the archive, "." for a folder's content alone; empty: the last part of the path. */
  readonly name: string;
}
/** A tar archive, in pieces. */
export interface CopyFromChunk {
  readonly data: Uint8Array;
}
export interface CopyToStart {
  readonly taskId: string;
  /** A folder that exists. */
  readonly path: string;
  /** Owners as in the archive; else root's. */
  readonly keepOwners: boolean;
}
/** Exactly one key is present: the start first, then a tar archive. */
export interface CopyToInput {
  readonly start?: CopyToStart;
  readonly data?: Uint8Array;
}
/** Said once, when everything is there. */
export interface CopyToResult {
  /** Content of files. */
  readonly bytes: number;
}
export interface LogsRequest {
  readonly taskId: string;
  readonly follow: boolean;
  readonly tail: number;
  readonly since: number;
  readonly until: number;
}
export interface LogEntry {
  readonly stream: 'stdout' | 'stderr';
  /** RFC 3339 with nanoseconds, UTC. */
  readonly time: string;
  readonly data: Uint8Array;
  /** What follows and was there already; absent: nothing. Callers of commands see none (cli/local-node/log-entries.ts). */
  readonly more?: readonly LogEntry[];
}
interface Size {
  readonly columns: number;
  readonly rows: number;
}
export interface ExecStart {
  readonly taskId: string;
  readonly argv: readonly string[];
  readonly env: readonly string[];
  readonly user: string;
  readonly workingDir: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly privileged: boolean;
  readonly size?: Size;
  /** Answer as soon as it runs; it goes on by itself. */
  readonly detach: boolean;
}
export interface AttachStart {
  readonly taskId: string;
  readonly replay: boolean;
  /** Wait for the start instead of refusing a task whose container does not run yet. */
  readonly wait?: boolean;
  readonly size?: Size;
}
/** Exactly one key is present. */
export interface ProcessInput {
  readonly exec?: ExecStart;
  readonly attach?: AttachStart;
  readonly stdin?: Uint8Array;
  readonly closeStdin?: boolean;
  readonly resize?: Size;
  readonly signal?: string;
}
/** Exactly one key is present. */
export interface ProcessOutput {
  readonly stdout?: Uint8Array;
  readonly stderr?: Uint8Array;
  readonly exit?: { readonly code: number; readonly oomKilled: boolean };
}

export interface ImageSummary {
  readonly id: string;
  readonly names: readonly string[];
  readonly digest: string;
  readonly createdAt: number;
  readonly sizeBytes: number;
  readonly architecture: string;
}
export interface ImageEvent {
  readonly progress?: {
    readonly id: string;
    readonly status: string;
    readonly current: number;
    readonly total: number;
    readonly text: string;
  };
  readonly images: readonly ImageSummary[];
}
export interface ListImagesResponse {
  readonly images: readonly ImageSummary[];
}
export interface ImageReference {
  readonly reference: string;
}
export interface FindImageResponse {
  readonly image?: ImageSummary;
}
export interface LoadImageRequest {
  readonly chunk: Uint8Array;
}
export interface BuildImageRequest {
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

export interface RebalanceRequest {
  /** Names of services ("shop_web", or "web" where only one project has it); empty: all. */
  readonly services: readonly string[];
  readonly dryRun: boolean;
}
/** A task that leaves its node for another one. */
export interface RebalanceMove {
  readonly service: string;
  readonly slot: number;
  /** Name of its container. */
  readonly task: string;
  /** Names of nodes. `to` is what the counts ask for: the scheduler decides when the task's turn comes. */
  readonly from: string;
  readonly to: string;
}
/** A service of which nothing moves, and why. */
export interface RebalanceSkip {
  readonly service: string;
  readonly reason: string;
}
export interface RebalanceResponse {
  readonly moves: readonly RebalanceMove[];
  readonly skipped: readonly RebalanceSkip[];
}
