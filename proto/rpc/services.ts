/** The gRPC services as typed definitions: method path, kind, and the messages of each side. */
import type { MessageName } from '../gen/messages.js';
import type {
  AcknowledgeRequest,
  ApplyProjectRequest,
  CreateFileRequest,
  CreateFileResponse,
  CreateNetworkRequest,
  CreateNetworkResponse,
  CreateServiceRequest,
  CreateServiceResponse,
  ListFilesRequest,
  ListFilesResponse,
  ListRevisionsRequest,
  ListRevisionsResponse,
  RemoveFileRequest,
  RemoveNetworkRequest,
  RemoveServiceRequest,
  RollbackProjectRequest,
  RollbackServiceRequest,
  UpdateServiceRequest,
  UpdateServiceResponse,
  ApplyProjectResponse,
  AssignmentChange,
  AssignmentsRequest,
  BuildImageRequest,
  CopyFromChunk,
  CopyFromRequest,
  CopyToInput,
  CopyToResult,
  DaemonStatusResponse,
  DoctorRequest,
  DoctorResponse,
  RotateKeyRequest,
  RotateKeyResponse,
  Empty,
  FindImageResponse,
  GetCaResponse,
  GetClusterResponse,
  ForceNewClusterResponse,
  GetRootCertificateResponse,
  GetUnlockKeyResponse,
  HeartbeatRequest,
  HeartbeatResponse,
  IdentityNotice,
  ImageEvent,
  ImageReference,
  IssueCertificateRequest,
  IssueCertificateResponse,
  JoinManagersRequest,
  JoinManagersResponse,
  LeaveClusterRequest,
  LeaveRequest,
  LeaveResponse,
  ListContainersRequest,
  ListContainersResponse,
  ListImagesResponse,
  ListManagersResponse,
  ListNodesResponse,
  ListObjectsRequest,
  ListObjectsResponse,
  LoadImageRequest,
  LogEntry,
  LogsRequest,
  PathRequest,
  ProcessInput,
  ProcessOutput,
  ProjectRequest,
  RaftPingResponse,
  RelayCall,
  RelayInput,
  RelayListenRequest,
  RelayNodes,
  RelayOutput,
  RebalanceRequest,
  RebalanceResponse,
  RemoveNodeRequest,
  RemoveNodeResponse,
  RemoveProjectRequest,
  RemoveProjectResponse,
  RotateCaRequest,
  RotateCaResponse,
  RotateJoinTokenRequest,
  RotateJoinTokenResponse,
  RunTaskRequest,
  RunTaskResponse,
  ServicesRequest,
  ServicesResponse,
  SessionMessage,
  SessionRequest,
  StatPathResponse,
  StatsRequest,
  StatsSample,
  StopTaskRequest,
  TaskRequest,
  TopResponse,
  UnlockRequest,
  StoreAccessResponse,
  UpdateClusterRequest,
  UpdateClusterResponse,
  UpdateNodeRequest,
  UpdateNodeResponse,
  UpdateTaskStatusRequest,
  WatchIdentityRequest,
  WatchProjectEvent,
  WatchTaskEvent,
  WatchTaskRequest,
} from '../types/index.ts';

/** One method: its path, its kind, and the names of its messages. `Request` and `Response` are what handlers and callers see. */
export interface Method<Request, Response, RequestStream extends boolean, ResponseStream extends boolean> {
  readonly path: string;
  readonly requestStream: RequestStream;
  readonly responseStream: ResponseStream;
  readonly request: MessageName;
  readonly response: MessageName;
  /** Never there: binds the type parameters. */
  readonly types?: (request: Request) => Response;
}

export type Unary<Q, A> = Method<Q, A, false, false>;
export type ServerStreaming<Q, A> = Method<Q, A, false, true>;
export type Bidirectional<Q, A> = Method<Q, A, true, true>;

function method<Q extends object, A extends object, QS extends boolean, AS extends boolean>(
  path: string,
  request: MessageName,
  response: MessageName,
  requestStream: QS,
  responseStream: AS,
): Method<Q, A, QS, AS> {
  return { path: `/tsswarm.v1.${path}`, requestStream, responseStream, request, response };
}
const unary = <Q extends object, A extends object>(path: string, q: MessageName, a: MessageName) =>
  method<Q, A, false, false>(path, q, a, false, false);
const streaming = <Q extends object, A extends object>(path: string, q: MessageName, a: MessageName) =>
  method<Q, A, false, true>(path, q, a, false, true);
const both = <Q extends object, A extends object>(path: string, q: MessageName, a: MessageName) =>
  method<Q, A, true, true>(path, q, a, true, true);

/** Callers: the local socket. */
export const controlService = {
  applyProject: unary<ApplyProjectRequest, ApplyProjectResponse>(
    'Control/ApplyProject',
    'ApplyProjectRequest',
    'ApplyProjectResponse',
  ),
  removeProject: unary<RemoveProjectRequest, RemoveProjectResponse>(
    'Control/RemoveProject',
    'RemoveProjectRequest',
    'RemoveProjectResponse',
  ),
  getCluster: unary<Empty, GetClusterResponse>('Control/GetCluster', 'GetClusterRequest', 'GetClusterResponse'),
  listNodes: unary<Empty, ListNodesResponse>('Control/ListNodes', 'ListNodesRequest', 'ListNodesResponse'),
  listObjects: unary<ListObjectsRequest, ListObjectsResponse>(
    'Control/ListObjects',
    'ListObjectsRequest',
    'ListObjectsResponse',
  ),
  watchProject: streaming<ProjectRequest, WatchProjectEvent>(
    'Control/WatchProject',
    'WatchProjectRequest',
    'WatchProjectEvent',
  ),
  stopServices: unary<ServicesRequest, ServicesResponse>('Control/StopServices', 'ServicesRequest', 'ServicesResponse'),
  startServices: unary<ServicesRequest, ServicesResponse>(
    'Control/StartServices',
    'ServicesRequest',
    'ServicesResponse',
  ),
  restartServices: unary<ServicesRequest, ServicesResponse>(
    'Control/RestartServices',
    'ServicesRequest',
    'ServicesResponse',
  ),
  runTask: unary<RunTaskRequest, RunTaskResponse>('Control/RunTask', 'RunTaskRequest', 'RunTaskResponse'),
  stopTask: unary<StopTaskRequest, Empty>('Control/StopTask', 'StopTaskRequest', 'StopTaskResponse'),
  createService: unary<CreateServiceRequest, CreateServiceResponse>(
    'Control/CreateService',
    'CreateServiceRequest',
    'CreateServiceResponse',
  ),
  updateService: unary<UpdateServiceRequest, UpdateServiceResponse>(
    'Control/UpdateService',
    'UpdateServiceRequest',
    'UpdateServiceResponse',
  ),
  rollbackService: unary<RollbackServiceRequest, UpdateServiceResponse>(
    'Control/RollbackService',
    'RollbackServiceRequest',
    'UpdateServiceResponse',
  ),
  removeService: unary<RemoveServiceRequest, Empty>(
    'Control/RemoveService',
    'RemoveServiceRequest',
    'RemoveServiceResponse',
  ),
  listRevisions: unary<ListRevisionsRequest, ListRevisionsResponse>(
    'Control/ListRevisions',
    'ListRevisionsRequest',
    'ListRevisionsResponse',
  ),
  createFile: unary<CreateFileRequest, CreateFileResponse>(
    'Control/CreateFile',
    'CreateFileRequest',
    'CreateFileResponse',
  ),
  listFiles: unary<ListFilesRequest, ListFilesResponse>('Control/ListFiles', 'ListFilesRequest', 'ListFilesResponse'),
  removeFile: unary<RemoveFileRequest, Empty>('Control/RemoveFile', 'RemoveFileRequest', 'RemoveFileResponse'),
  createNetwork: unary<CreateNetworkRequest, CreateNetworkResponse>(
    'Control/CreateNetwork',
    'CreateNetworkRequest',
    'CreateNetworkResponse',
  ),
  removeNetwork: unary<RemoveNetworkRequest, Empty>(
    'Control/RemoveNetwork',
    'RemoveNetworkRequest',
    'RemoveNetworkResponse',
  ),
  rollbackProject: unary<RollbackProjectRequest, ApplyProjectResponse>(
    'Control/RollbackProject',
    'RollbackProjectRequest',
    'ApplyProjectResponse',
  ),
  watchTask: streaming<WatchTaskRequest, WatchTaskEvent>('Control/WatchTask', 'WatchTaskRequest', 'WatchTaskEvent'),
  rebalance: unary<RebalanceRequest, RebalanceResponse>('Control/Rebalance', 'RebalanceRequest', 'RebalanceResponse'),
} as const;

/** Callers: the local socket. */
export const daemonService = {
  status: unary<Empty, DaemonStatusResponse>('Daemon/Status', 'DaemonStatusRequest', 'DaemonStatusResponse'),
  leave: unary<LeaveRequest, LeaveResponse>('Daemon/Leave', 'LeaveRequest', 'LeaveResponse'),
  unlock: unary<UnlockRequest, Empty>('Daemon/Unlock', 'UnlockRequest', 'UnlockResponse'),
  forceNewCluster: unary<Empty, ForceNewClusterResponse>(
    'Daemon/ForceNewCluster',
    'ForceNewClusterRequest',
    'ForceNewClusterResponse',
  ),
} as const;

/** Callers: worker, manager (now: the local socket). */
export const dispatcherService = {
  session: streaming<SessionRequest, SessionMessage>('Dispatcher/Session', 'SessionRequest', 'SessionMessage'),
  heartbeat: unary<HeartbeatRequest, HeartbeatResponse>(
    'Dispatcher/Heartbeat',
    'HeartbeatRequest',
    'HeartbeatResponse',
  ),
  assignments: streaming<AssignmentsRequest, AssignmentChange>(
    'Dispatcher/Assignments',
    'AssignmentsRequest',
    'AssignmentChange',
  ),
  acknowledge: unary<AcknowledgeRequest, Empty>('Dispatcher/Acknowledge', 'AcknowledgeRequest', 'AcknowledgeResponse'),
  updateTaskStatus: unary<UpdateTaskStatusRequest, Empty>(
    'Dispatcher/UpdateTaskStatus',
    'UpdateTaskStatusRequest',
    'UpdateTaskStatusResponse',
  ),
} as const;

/** Tasks of the node that is asked; of every node, where that is a manager. Callers: the local socket, managers. */
export const tasksService = {
  containers: unary<ListContainersRequest, ListContainersResponse>(
    'Tasks/Containers',
    'ListContainersRequest',
    'ListContainersResponse',
  ),
  logs: streaming<LogsRequest, LogEntry>('Tasks/Logs', 'LogsRequest', 'LogEntry'),
  exec: both<ProcessInput, ProcessOutput>('Tasks/Exec', 'ProcessInput', 'ProcessOutput'),
  attach: both<ProcessInput, ProcessOutput>('Tasks/Attach', 'ProcessInput', 'ProcessOutput'),
  doctor: unary<DoctorRequest, DoctorResponse>('Tasks/Doctor', 'DoctorRequest', 'DoctorResponse'),
  rotateKey: unary<RotateKeyRequest, RotateKeyResponse>('Tasks/RotateKey', 'RotateKeyRequest', 'RotateKeyResponse'),
  top: unary<TaskRequest, TopResponse>('Tasks/Top', 'TopRequest', 'TopResponse'),
  stats: streaming<StatsRequest, StatsSample>('Tasks/Stats', 'StatsRequest', 'StatsSample'),
  statPath: unary<PathRequest, StatPathResponse>('Tasks/StatPath', 'StatPathRequest', 'StatPathResponse'),
  copyFrom: streaming<CopyFromRequest, CopyFromChunk>('Tasks/CopyFrom', 'CopyFromRequest', 'CopyFromChunk'),
  copyTo: both<CopyToInput, CopyToResult>('Tasks/CopyTo', 'CopyToInput', 'CopyToResult'),
} as const;

/** Calls of managers at nodes that listen on no port. Callers: each node for itself; `holds`: managers. */
export const relayService = {
  listen: streaming<RelayListenRequest, RelayCall>('Relay/Listen', 'RelayListenRequest', 'RelayCall'),
  answer: both<RelayOutput, RelayInput>('Relay/Answer', 'RelayOutput', 'RelayInput'),
  holds: unary<RelayNodes, RelayNodes>('Relay/Holds', 'RelayHoldsRequest', 'RelayHoldsResponse'),
} as const;

/** Callers: the local socket. */
export const imagesService = {
  list: unary<Empty, ListImagesResponse>('Images/List', 'ListImagesRequest', 'ListImagesResponse'),
  find: unary<ImageReference, FindImageResponse>('Images/Find', 'FindImageRequest', 'FindImageResponse'),
  pull: streaming<ImageReference, ImageEvent>('Images/Pull', 'PullImageRequest', 'ImageEvent'),
  load: both<LoadImageRequest, ImageEvent>('Images/Load', 'LoadImageRequest', 'ImageEvent'),
  remove: unary<ImageReference, Empty>('Images/Remove', 'RemoveImageRequest', 'RemoveImageResponse'),
  build: streaming<BuildImageRequest, ImageEvent>('Images/Build', 'BuildImageRequest', 'ImageEvent'),
} as const;

/** Who a node is: the cluster's root, certificates, and word when a certificate must be replaced. */
export const caService = {
  getRootCertificate: unary<Empty, GetRootCertificateResponse>(
    'Ca/GetRootCertificate',
    'GetRootCertificateRequest',
    'GetRootCertificateResponse',
  ),
  issueCertificate: unary<IssueCertificateRequest, IssueCertificateResponse>(
    'Ca/IssueCertificate',
    'IssueCertificateRequest',
    'IssueCertificateResponse',
  ),
  watchIdentity: streaming<WatchIdentityRequest, IdentityNotice>(
    'Ca/WatchIdentity',
    'WatchIdentityRequest',
    'IdentityNotice',
  ),
} as const;

/** What the managers' Raft says, member to member. The messages are those of manager/raft/types.ts. */
export const raftService = {
  messages: both<{ readonly messages: readonly object[]; readonly acknowledge: boolean }, Empty>(
    'Raft/Messages',
    'RaftBatch',
    'RaftReceipt',
  ),
  ping: unary<Empty, RaftPingResponse>('Raft/Ping', 'RaftPingRequest', 'RaftPingResponse'),
} as const;

/** Who belongs to the cluster. */
export const membershipService = {
  listManagers: unary<Empty, ListManagersResponse>(
    'Membership/ListManagers',
    'ListManagersRequest',
    'ListManagersResponse',
  ),
  join: unary<JoinManagersRequest, JoinManagersResponse>(
    'Membership/Join',
    'JoinManagersRequest',
    'JoinManagersResponse',
  ),
  leave: unary<LeaveClusterRequest, Empty>('Membership/Leave', 'LeaveClusterRequest', 'LeaveClusterResponse'),
  updateNode: unary<UpdateNodeRequest, UpdateNodeResponse>(
    'Membership/UpdateNode',
    'UpdateNodeRequest',
    'UpdateNodeResponse',
  ),
  removeNode: unary<RemoveNodeRequest, RemoveNodeResponse>(
    'Membership/RemoveNode',
    'RemoveNodeRequest',
    'RemoveNodeResponse',
  ),
  getStoreAccess: unary<Empty, StoreAccessResponse>(
    'Membership/GetStoreAccess',
    'StoreAccessRequest',
    'StoreAccessResponse',
  ),
  rotateJoinToken: unary<RotateJoinTokenRequest, RotateJoinTokenResponse>(
    'Membership/RotateJoinToken',
    'RotateJoinTokenRequest',
    'RotateJoinTokenResponse',
  ),
  updateCluster: unary<UpdateClusterRequest, UpdateClusterResponse>(
    'Membership/UpdateCluster',
    'UpdateClusterRequest',
    'UpdateClusterResponse',
  ),
  getUnlockKey: unary<Empty, GetUnlockKeyResponse>(
    'Membership/GetUnlockKey',
    'GetUnlockKeyRequest',
    'GetUnlockKeyResponse',
  ),
  rotateCa: unary<RotateCaRequest, RotateCaResponse>('Membership/RotateCa', 'RotateCaRequest', 'RotateCaResponse'),
  getCa: unary<Empty, GetCaResponse>('Membership/GetCa', 'GetCaRequest', 'GetCaResponse'),
} as const;
