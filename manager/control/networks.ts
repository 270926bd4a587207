import { DEFAULT_NETWORK_DRIVER, driverFault } from '../../base/network-driver.ts';
import { TsswarmError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { NetworkId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import { encloses, isWithin, parseRange, rangesOverlap } from '../../base/subnet.ts';
import type {
  CreateNetworkRequest,
  CreateNetworkResponse,
  Network,
  NetworkSpec,
  RemoveNetworkRequest,
} from '../../proto/types/index.ts';
import { isFinal } from '../model/task-state.ts';
import type { ReadTransaction, WriteTransaction } from '../store/types.ts';

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
const LONGEST_NAME = 255;
/** Words that stand for something else where a network is named. */
const RESERVED = ['bridge', 'default', 'host', 'none'];

/** Makes a network of no project. @throws ALREADY_EXISTS, INVALID_INPUT, NOT_SUPPORTED, IN_USE for addresses that others have */
export function createNetwork(
  tx: WriteTransaction,
  { spec: asked }: CreateNetworkRequest,
  now: number,
  random: Random,
): CreateNetworkResponse {
  const spec = { ...asked, driver: asked.driver === '' ? DEFAULT_NETWORK_DRIVER : asked.driver };
  const action = `creating network "${spec.name}"`;
  if (!NAME.test(spec.name) || spec.name.length > LONGEST_NAME)
    throw invalid(`${action}: the name must be one to ${LONGEST_NAME} of [a-zA-Z0-9_.-]`);
  if (RESERVED.includes(spec.name)) throw invalid(`${action}: the name stands for something else`);
  if (tx.find('network', 'name', spec.name).length > 0) {
    throw new TsswarmError('ALREADY_EXISTS', `${action}: a network of that name exists`, {
      hint: 'choose another name, or remove the one that exists with "tsswarm network rm"',
    });
  }
  validateNetwork(action, spec);
  refuseOverlap(tx, action, spec);
  const id = newId<NetworkId>(random);
  tx.create('network', {
    id,
    meta: { version: 0, createdAt: now, updatedAt: now },
    projectId: '',
    spec,
    subnet: '',
    gateway: '',
    pendingDelete: false,
  });
  return { id };
}

/**
 * Takes a network away that nobody uses; it is gone when a node has said that its part of it is.
 * @throws NOT_FOUND; IN_USE naming who uses it
 */
export function removeNetwork(tx: WriteTransaction, { id }: RemoveNetworkRequest): void {
  const network = tx.get('network', id as NetworkId);
  if (network === undefined) throw new TsswarmError('NOT_FOUND', `removing network "${id}": no such network`);
  if (network.pendingDelete) return;
  const users = networkUsers(tx, network);
  if (users.length > 0) {
    throw new TsswarmError('IN_USE', `removing network "${network.spec.name}": it is used by ${users.join(', ')}`, {
      hint: 'take them off it, or remove them first',
    });
  }
  const wasUsed = tx.list('task').some((task) => isOn(task, network));
  // What no task was ever on is on no node.
  if (wasUsed) tx.update('network', { ...network, pendingDelete: true });
  else tx.remove('network', network.id);
}

/** Who uses a network, in words: services, and containers that run on it for another reason. */
export function networkUsers(tx: ReadTransaction, network: Network): readonly string[] {
  const services = tx
    .list('service')
    .filter(({ pendingDelete, spec }) => !pendingDelete && names(spec.task.networks, network));
  const known = new Set<string>(services.map(({ id }) => id));
  const tasks = tx
    .list('task')
    .filter((task) => !isFinal(task) && (isOn(task, network) || names(task.spec.networks, network)))
    .filter((task) => task.oneOff || !known.has(task.serviceId));
  return [...services.map(({ spec }) => `service "${spec.name}"`), ...tasks.map(({ name }) => `container "${name}"`)];
}

const names = (attachments: readonly { readonly network: string }[], { spec }: Network): boolean =>
  attachments.some(({ network }) => network === spec.name);

const isOn = (task: { readonly addresses: readonly { readonly networkId: string }[] }, { id }: Network): boolean =>
  task.addresses.some(({ networkId }) => networkId === id);

/** Refuses what cannot be. @param action what is being done, for the message @throws INVALID_INPUT, NOT_SUPPORTED */
function validateNetwork(action: string, spec: NetworkSpec): void {
  const fault = driverFault(spec.driver, spec.options);
  if (fault !== undefined) {
    const what = fault.field === 'driver' ? 'driver' : 'option';
    throw new TsswarmError('NOT_SUPPORTED', `${action}: the ${what} "${fault.key}" ${fault.reason}`);
  }
  if (spec.ipv6 !== undefined) throw new TsswarmError('NOT_SUPPORTED', `${action}: IPv6 is not supported yet`);
  const auxiliary = Object.entries(spec.auxiliaryAddresses);
  if (auxiliary.length > 0)
    throw new TsswarmError('NOT_SUPPORTED', `${action}: auxiliary addresses are not supported yet`);
  checkRange(action, spec);
}

/** What the smallest subnet has: a gateway and one container. */
const LONGEST_PREFIX = 30;

function checkRange(action: string, { subnet, gateway, ipRange }: NetworkSpec): void {
  if (subnet === '') {
    if (gateway !== '') throw invalid(`${action}: the gateway ${gateway} needs a subnet`);
    if (ipRange !== '') throw invalid(`${action}: the range ${ipRange} needs a subnet`);
    return;
  }
  const whole = parseRange(subnet);
  if (whole?.family !== 4 || whole.prefix > LONGEST_PREFIX)
    throw invalid(`${action}: the subnet is "${subnet}", expected one such as 10.1.2.0/24`);
  if (gateway !== '' && !isWithin(whole, gateway))
    throw invalid(`${action}: the gateway "${gateway}" is no address of the subnet ${subnet}`);
  const range = ipRange === '' ? undefined : parseRange(ipRange);
  if (ipRange !== '' && (range === undefined || !encloses(whole, range)))
    throw invalid(`${action}: the range "${ipRange}" is no part of the subnet ${subnet}`);
}

function refuseOverlap(tx: ReadTransaction, action: string, { subnet }: NetworkSpec): void {
  const wanted = parseRange(subnet);
  if (wanted === undefined) return;
  for (const other of tx.list('network')) {
    const range = parseRange(other.subnet === '' ? other.spec.subnet : other.subnet);
    if (range === undefined || !rangesOverlap(wanted, range)) continue;
    throw new TsswarmError('IN_USE', `${action}: its subnet ${subnet} overlaps that of network "${other.spec.name}"`, {
      hint: `choose another subnet, or none: "${other.spec.name}" has ${other.subnet || other.spec.subnet}`,
    });
  }
}

const invalid = (message: string): TsswarmError => new TsswarmError('INVALID_INPUT', message);
