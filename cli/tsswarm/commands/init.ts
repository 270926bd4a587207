import { mkdir, rm, writeFile } from 'node:fs/promises';
import { TsswarmError } from '../../../base/errors.ts';
import { DEFAULT_POOL_PREFIX, checkAddressPools } from '../../../manager/cluster/address-pools.ts';
import { demandNoOwnState } from '../../../manager/cluster/own-state.ts';
import type { NodeAvailability, StoreStatus } from '../../../proto/types/index.ts';
import { openNode, tryOpenNode } from '../../local-node/index.ts';
import type { NodePlace } from '../../local-node/index.ts';
import { genericResources } from '../../local-node/generic-resources.ts';
import { keyInterval } from '../../local-node/key-interval.ts';
import { initRequestPath } from '../../local-node/init-request.ts';
import type { InitRequest } from '../../local-node/init-request.ts';
import { startNode } from '../../local-node/start.ts';
import { readStoreAccess, storeRequestPath } from '../../local-node/store-access.ts';
import type { Terminal } from '../../terminal/index.ts';
import { explainUnlockKey, untilLocked } from '../autolock.ts';
import { clusterSettings, namesOf } from '../cluster-settings.ts';
import type { ClusterSettingOptions } from '../cluster-settings.ts';
import { checkAdvertised } from '../advertised.ts';
import { readFoundingCas } from '../external-ca.ts';
import { isMember } from './member.ts';

/** How the daemon is started: `init` and `join` share it. */
export interface StartNodeOptions {
  readonly nodeName?: string;
  readonly cgroupParent?: string;
  readonly addressPool?: readonly string[];
  readonly engineLabel?: readonly string[];
  readonly genericResource?: readonly string[];
  readonly logLevel?: string;
  readonly advertiseAddr?: string;
  readonly dataPathAddr?: string;
  readonly networkKeyInterval?: string;
  readonly listenAddr?: string;
  readonly systemd: boolean;
}

export interface InitOptions extends StartNodeOptions, ClusterSettingOptions {
  readonly availability?: string;
  readonly defaultAddrPool?: readonly string[];
  readonly defaultAddrPoolMaskLength?: string;
  readonly externalCa?: readonly string[];
  readonly autolock?: boolean;
  readonly dataPathPort?: string;
  readonly forceNewCluster?: boolean;
  readonly store?: string;
  readonly storeCacert?: string;
  readonly storeCert?: string;
  readonly storeKey?: string;
  readonly storePasswordFile?: string;
}

/** Starts the node, waits until it answers, and says what Docker says after `swarm init`. */
export async function init(place: NodePlace, options: InitOptions, terminal: Terminal): Promise<void> {
  if (options.forceNewCluster === true) return forceNew(place, options, terminal);
  const request = await requestOf(options);
  const note = await checkAdvertised(options.advertiseAddr);
  const known = isMember(place.stateDir);
  if (known) refuseForMember(options);
  const started = await withStore(place, options, () => startWith(place, options, known ? undefined : request));
  const node = await openNode(place);
  try {
    const status = await node.daemon.status({});
    if (status.locked) {
      terminal.out(`Node started again: ${status.nodeId}, and locked: its containers run, its manager needs the unlock key.

Next:  tsswarm unlock
`);
      return;
    }
    if (status.role !== 'manager' || known) {
      terminal.out(`Node started again: ${status.nodeId}, a ${status.role} of its cluster.

State: ${place.stateDir}
Log:   ${started.log}
`);
      return;
    }
    const [{ cluster }, { managers }] = await Promise.all([
      node.control.getCluster({}),
      node.membership.listManagers({}),
    ]);
    const address = managers.find(({ nodeId }) => nodeId === status.nodeId)?.address ?? '';
    terminal.out(`Swarm initialized: current node (${status.nodeId}) is now a manager.

To add a worker to this swarm, run the following command:

    tsswarm join --token ${cluster.joinTokens.worker} ${address}

To add a manager to this swarm, run 'tsswarm join-token manager' and follow the instructions.

State: ${place.stateDir}
${storeLine(status.store)}Log:   ${started.log}
Next:  tscompose up -d
`);
    terminal.err(note);
    if (options.autolock !== true) return;
    const key = (await node.membership.getUnlockKey({})).unlockKey;
    await untilLocked(node, key);
    terminal.out(`\n${explainUnlockKey(key)}`);
  } finally {
    node.close();
  }
}

/** Makes this manager the only one of its cluster. */
async function forceNew(place: NodePlace, options: InitOptions, terminal: Terminal): Promise<void> {
  const action = 'forcing a new cluster';
  if (!isMember(place.stateDir)) {
    throw new TsswarmError('INVALID_INPUT', `${action}: this node belongs to none`, {
      hint: 'run it on a manager that is left; to begin anew: tsswarm init',
    });
  }
  refuseForMember(options);
  const { store, storeCacert, storeCert, storeKey, storePasswordFile } = options;
  const aboutStore = namesOf({ store, storeCacert, storeCert, storeKey, storePasswordFile });
  if (aboutStore.length > 0) {
    throw new TsswarmError('NOT_SUPPORTED', `${action} with ${aboutStore.join(' and ')}: the state stays where it is`, {
      hint: 'give it without',
    });
  }
  let node = await tryOpenNode(place);
  const flags = daemonFlags(options);
  if (node === undefined) {
    await startNode({ place, flags, useSystemd: options.systemd });
    node = await openNode(place);
  } else if (flags.length > 0) {
    node.close();
    throw new TsswarmError(
      'INVALID_INPUT',
      `${action} with ${flags.filter((flag) => flag.startsWith('--')).join(' and ')}: the node runs`,
      {
        hint: 'give it without, or stop the node first',
      },
    );
  }
  try {
    const { managers } = await node.daemon.forceNewCluster({});
    const names = managers.map(({ nodeId, hostname }) => `    ${nodeId}  ${hostname}\n`).join('');
    terminal.out(`This node is the only manager of its cluster now. Services, tasks, secrets and configs are kept.
`);
    if (names === '') return;
    terminal.out(`
Given up and shut out, for good:

${names}
Should one of them come back: run 'tsswarm leave --force' there, then join it anew.
More managers: run 'tsswarm join-token manager' and follow the instructions.
`);
  } finally {
    node.close();
  }
}

/** Where the state is kept, when that is not here. */
const storeLine = (store: StoreStatus | undefined): string => (store?.kind === 'etcd' ? `Store: ${store.place}\n` : '');

/** Leaves the store that is asked for where the daemon finds it, and takes that back when the daemon does not start. */
async function withStore<R>({ stateDir }: NodePlace, options: InitOptions, start: () => Promise<R>): Promise<R> {
  const access = readStoreAccess(options, process.env);
  if (access === undefined) return start();
  const path = storeRequestPath(stateDir);
  await mkdir(stateDir, { recursive: true, mode: 0o711 });
  await writeFile(path, JSON.stringify(access), { mode: 0o600 });
  try {
    return await start();
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

/** Starts the node; a new cluster becomes what the request says, or is not begun. */
async function startWith(place: NodePlace, options: InitOptions, request: InitRequest | undefined) {
  const path = initRequestPath(place.stateDir);
  if (request !== undefined) {
    await mkdir(place.stateDir, { recursive: true, mode: 0o711 });
    await writeFile(path, JSON.stringify(request), { mode: 0o600 });
  }
  try {
    return await startNode({ place, flags: daemonFlags(options), useSystemd: options.systemd });
  } finally {
    await rm(path, { force: true });
  }
}

/** What is asked of a new cluster; undefined: nothing. @throws INVALID_INPUT, NOT_SUPPORTED before anything is started */
async function requestOf(options: InitOptions): Promise<InitRequest | undefined> {
  const settings = { ...clusterSettings(options), ...(options.autolock === true ? { autoLock: true } : {}) };
  if (options.store !== undefined) demandNoOwnState(settings);
  const { availability } = options;
  if (availability !== undefined && !['active', 'pause', 'drain'].includes(availability))
    throw new TsswarmError('INVALID_INPUT', `using --availability "${availability}": expected active, pause or drain`);
  const dataPathPort = options.dataPathPort === undefined ? undefined : readDataPathPort(options.dataPathPort);
  const externalCas = await readFoundingCas(options.externalCa);
  if (externalCas.length > 0 && settings.nodeCertExpiryMs !== undefined) {
    const { refuseExpiry } = await import('../../../manager/ca/external.ts');
    refuseExpiry(externalCas);
  }
  const request: InitRequest = {
    settings,
    ...(availability === undefined ? {} : { availability: availability as NodeAvailability }),
    ...(dataPathPort === undefined ? {} : { dataPathPort }),
    ...readAddressPools(options),
    ...(externalCas.length === 0 ? {} : { externalCas }),
  };
  return Object.keys(settings).length === 0 && Object.keys(request).length === 1 ? undefined : request;
}

/** @throws INVALID_INPUT */
function readAddressPools({
  addressPool = [],
  defaultAddrPool = [],
  defaultAddrPoolMaskLength: prefix,
}: InitOptions): Pick<InitRequest, 'addressPools' | 'addressPoolPrefix'> {
  const pools = [...defaultAddrPool, ...addressPool];
  checkAddressPools(pools, prefix === undefined ? DEFAULT_POOL_PREFIX : Number(prefix));
  return {
    ...(pools.length === 0 ? {} : { addressPools: pools }),
    ...(prefix === undefined ? {} : { addressPoolPrefix: Number(prefix) }),
  };
}

/** Docker's limits. @throws INVALID_INPUT */
function readDataPathPort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port >= 1024 && port <= 49151) return port;
  throw new TsswarmError('INVALID_INPUT', `using --data-path-port "${text}": expected 1024 to 49151`);
}

/** A node that is started again has its cluster: what would be ignored is refused. */
function refuseForMember(options: InitOptions): void {
  const { certExpiry, taskHistoryLimit, dispatcherHeartbeat, snapshotInterval, maxSnapshots, availability } = options;
  const { removeDeadManagers, dataPathPort } = options;
  const given = namesOf({
    certExpiry,
    taskHistoryLimit,
    dispatcherHeartbeat,
    snapshotInterval,
    maxSnapshots,
    removeDeadManagers,
    dataPathPort,
  });
  const all = [
    ...given,
    ...(availability === undefined ? [] : ['--availability']),
    ...(options.autolock === true ? ['--autolock'] : []),
    ...(options.externalCa === undefined ? [] : ['--external-ca']),
    ...(options.defaultAddrPool === undefined ? [] : ['--default-addr-pool']),
    ...(options.defaultAddrPoolMaskLength === undefined ? [] : ['--default-addr-pool-mask-length']),
  ];
  if (all.length === 0) return;
  throw new TsswarmError(
    'INVALID_INPUT',
    `starting the node again with ${all.join(' and ')}: its cluster exists already`,
    {
      hint: 'start it without, then: tsswarm update, tsswarm node update --availability, tsswarm ca --rotate',
    },
  );
}

/** The daemon's flags for what `init` was given. @throws INVALID_INPUT */
export function daemonFlags(options: StartNodeOptions): readonly string[] {
  const flags: string[] = [];
  if (options.cgroupParent !== undefined) flags.push('--cgroup-parent', options.cgroupParent);
  if (options.nodeName !== undefined) flags.push('--node-name', options.nodeName);
  for (const label of options.engineLabel ?? []) flags.push('--engine-label', label);
  const resources = options.genericResource ?? [];
  if (resources.length > 0) genericResources(resources);
  for (const resource of resources) flags.push('--generic-resource', resource);
  for (const pool of options.addressPool ?? []) flags.push('--address-pool', pool);
  if (options.listenAddr !== undefined) flags.push('--listen-addr', options.listenAddr);
  if (options.advertiseAddr !== undefined) flags.push('--advertise-addr', options.advertiseAddr);
  if (options.dataPathAddr !== undefined) flags.push('--data-path-addr', options.dataPathAddr);
  keyInterval(options.networkKeyInterval);
  if (options.networkKeyInterval !== undefined) flags.push('--network-key-interval', options.networkKeyInterval);
  if (options.logLevel !== undefined) flags.push('--log-level', options.logLevel);
  return flags;
}
