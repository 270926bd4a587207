import { TsswarmError } from '../../base/errors.ts';
import { describeCaller, kindOf } from './caller.ts';
import type { Caller, CallerKind } from './caller.ts';
import {
  caService,
  controlService,
  daemonService,
  dispatcherService,
  imagesService,
  membershipService,
  raftService,
  relayService,
  tasksService,
} from './services.ts';

/** Who may call a method. */
export interface CallRights {
  readonly callers: readonly CallerKind[];
  /** The request's `nodeId` must be the calling node's own: nobody speaks for another node. */
  readonly ownNode: boolean;
}

const LOCAL: CallRights = { callers: ['local'], ownNode: false };
/** What an administrator may do: at any manager's socket; a manager passes it on to the leader. */
const ADMINISTRATOR: CallRights = { callers: ['local', 'manager'], ownNode: false };
const MANAGER: CallRights = { callers: ['manager'], ownNode: false };
const OWN_NODE: CallRights = { callers: ['local', 'manager', 'worker'], ownNode: true };
const EVERYBODY: CallRights = { callers: ['local', 'manager', 'worker', 'anonymous'], ownNode: false };

/** The rights of every method, by path. A method that is missing here cannot be served. */
const RIGHTS: ReadonlyMap<string, CallRights> = new Map([
  ...rights(controlService, {
    applyProject: ADMINISTRATOR,
    removeProject: ADMINISTRATOR,
    getCluster: ADMINISTRATOR,
    listNodes: ADMINISTRATOR,
    listObjects: ADMINISTRATOR,
    watchProject: ADMINISTRATOR,
    stopServices: ADMINISTRATOR,
    startServices: ADMINISTRATOR,
    restartServices: ADMINISTRATOR,
    runTask: ADMINISTRATOR,
    stopTask: ADMINISTRATOR,
    watchTask: ADMINISTRATOR,
    rebalance: ADMINISTRATOR,
    createService: ADMINISTRATOR,
    updateService: ADMINISTRATOR,
    rollbackService: ADMINISTRATOR,
    removeService: ADMINISTRATOR,
    listRevisions: ADMINISTRATOR,
    createNetwork: ADMINISTRATOR,
    removeNetwork: ADMINISTRATOR,
    rollbackProject: ADMINISTRATOR,
    createFile: ADMINISTRATOR,
    listFiles: ADMINISTRATOR,
    removeFile: ADMINISTRATOR,
  }),
  ...rights(daemonService, { status: LOCAL, leave: LOCAL, unlock: LOCAL, forceNewCluster: LOCAL }),
  ...rights(dispatcherService, {
    session: OWN_NODE,
    heartbeat: OWN_NODE,
    assignments: OWN_NODE,
    acknowledge: OWN_NODE,
    updateTaskStatus: OWN_NODE,
  }),
  ...rights(tasksService, {
    containers: ADMINISTRATOR,
    logs: ADMINISTRATOR,
    exec: ADMINISTRATOR,
    attach: ADMINISTRATOR,
    doctor: ADMINISTRATOR,
    rotateKey: ADMINISTRATOR,
    top: ADMINISTRATOR,
    stats: ADMINISTRATOR,
    statPath: ADMINISTRATOR,
    copyFrom: ADMINISTRATOR,
    copyTo: ADMINISTRATOR,
  }),
  ...rights(relayService, {
    listen: { callers: ['manager', 'worker'], ownNode: true },
    // That the call was meant for the node that answers it is the handler's business, too.
    answer: { callers: ['manager', 'worker'], ownNode: true },
    holds: MANAGER,
  }),
  ...rights(imagesService, { list: LOCAL, find: LOCAL, pull: LOCAL, load: LOCAL, remove: LOCAL, build: LOCAL }),
  ...rights(caService, {
    getRootCertificate: EVERYBODY,
    // Without a certificate a join token is asked for: the handler's business.
    issueCertificate: EVERYBODY,
    watchIdentity: OWN_NODE,
  }),
  // Who a message is from is held against the certificate by the handler.
  ...rights(raftService, { messages: MANAGER, ping: MANAGER }),
  ...rights(membershipService, {
    listManagers: ADMINISTRATOR,
    join: { callers: ['manager'], ownNode: true },
    leave: OWN_NODE,
    updateNode: ADMINISTRATOR,
    removeNode: ADMINISTRATOR,
    // It has the credentials of the store in it.
    getStoreAccess: MANAGER,
    rotateJoinToken: ADMINISTRATOR,
    updateCluster: ADMINISTRATOR,
    getUnlockKey: ADMINISTRATOR,
    rotateCa: ADMINISTRATOR,
    getCa: ADMINISTRATOR,
  }),
]);

/** The rights of the method at `path` ("/tsswarm.v1.Control/ListNodes"); undefined: nobody has decided yet. */
export function rightsOf(path: string): CallRights | undefined {
  return RIGHTS.get(path);
}

/**
 * Lets the caller into the method, or not.
 * @throws PERMISSION_DENIED with what is wrong with the caller's certificate, if that is the reason
 */
export function admit(path: string, caller: Caller): CallRights {
  const known = RIGHTS.get(path);
  if (known?.callers.includes(kindOf(caller))) return known;
  const action = `calling "${path.replace('/tsswarm.v1.', '')}"`;
  if (caller.kind === 'anonymous' && caller.why !== undefined) {
    throw new TsswarmError('PERMISSION_DENIED', `${action}: ${caller.why.reason}`, { hint: caller.why.hint });
  }
  const allowed = known === undefined ? 'nobody' : known.callers.join(', ');
  throw new TsswarmError(
    'PERMISSION_DENIED',
    `${action}: not allowed for ${describeCaller(caller)}, only for: ${allowed}`,
    {
      hint: caller.kind === 'node' ? 'run the command on a manager' : 'join the cluster first: tsswarm join',
    },
  );
}

/**
 * Holds a node to its own id in requests that name one.
 * @throws PERMISSION_DENIED when it names another
 */
export function admitRequest(path: string, rights: CallRights, caller: Caller, request: unknown): void {
  if (!rights.ownNode || caller.kind !== 'node') return;
  const named = (request as { readonly nodeId?: unknown }).nodeId;
  if (named === caller.nodeId) return;
  throw new TsswarmError(
    'PERMISSION_DENIED',
    `calling "${path.replace('/tsswarm.v1.', '')}" for the node "${String(named)}": the certificate is that of "${caller.nodeId}", a node speaks only for itself`,
  );
}

/** One entry per method of the service: a new method does not compile before somebody decides. */
function rights<S extends Readonly<Record<string, { readonly path: string }>>>(
  service: S,
  table: Readonly<Record<keyof S, CallRights>>,
): readonly (readonly [string, CallRights])[] {
  return Object.entries(service).map(([name, { path }]) => [path, table[name as keyof S]] as const);
}
