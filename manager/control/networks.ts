import { DEFAULT_NETWORK_DRIVER, driverFault, missingOption } from '../../base/network-driver.ts';
import { TsswarmError } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import type { NetworkId } from '../../base/ids.ts';
import type { Random } from '../../base/random.ts';
import { planFault } from '../../base/address-plan.ts';
import { readIp, readIpSubnet, subnetsOverlap } from '../../base/ip-address.ts';
import type { IpFamily } from '../../base/ip-address.ts';
import type {
  CreateNetworkRequest,
  CreateNetworkResponse,
  Network,
  NetworkSpec,
  RemoveNetworkRequest,
} from '../../proto/types/index.ts';
import { isOnNetwork } from '../model/task-addresses.ts';
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
  const wasUsed = tx.list('task').some((task) => isOnNetwork(task, network.id));
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
    .filter((task) => !isFinal(task) && (isOnNetwork(task, network.id) || names(task.spec.networks, network)))
    .filter((task) => task.oneOff || !known.has(task.serviceId));
  return [...services.map(({ spec }) => `service "${spec.name}"`), ...tasks.map(({ name }) => `container "${name}"`)];
}

const names = (attachments: readonly { readonly network: string }[], { spec }: Network): boolean =>
  attachments.some(({ network }) => network === spec.name);

/** Refuses a network that cannot be. @param action what is being done, for the message @throws INVALID_INPUT, NOT_SUPPORTED */
export function validateNetwork(action: string, spec: NetworkSpec): void {
  const unknown = driverFault(spec.driver, spec.options);
  if (unknown !== undefined) {
    const what = unknown.field === 'driver' ? 'driver' : 'option';
    throw new TsswarmError('NOT_SUPPORTED', `${action}: the ${what} "${unknown.key}" ${unknown.reason}`);
  }
  const missing = missingOption(spec.driver, spec.options);
  if (missing !== undefined)
    throw new TsswarmError('INVALID_INPUT', `${action}: the driver "${spec.driver}" needs the option "${missing}"`, {
      hint: 'the name of a card of the nodes: --opt parent=eth0, in a file driver_opts: { parent: eth0 }',
    });
  const { subnet, gateway, ipRange, auxiliaryAddresses, ipv6 } = spec;
  const ofFamily = (family: IpFamily): Readonly<Record<string, string>> =>
    Object.fromEntries(
      Object.entries(auxiliaryAddresses).filter(([, address]) => (readIp(address)?.family ?? 4) === family),
    );
  const fault =
    planFault({ subnet, gateway, ipRange, auxiliary: ofFamily(4) }, 4) ??
    planFault({ ...(ipv6 ?? { subnet: '', gateway: '', ipRange: '' }), auxiliary: ofFamily(6) }, 6);
  if (fault === undefined) return;
  const what = {
    subnet: 'subnet',
    gateway: 'gateway',
    ipRange: 'range of addresses',
    auxiliary: 'list of auxiliary addresses',
  };
  throw invalid(`${action}: the ${what[fault.field]} ${fault.reason}`);
}

function refuseOverlap(tx: ReadTransaction, action: string, { subnet, ipv6 }: NetworkSpec): void {
  for (const text of [subnet, ipv6?.subnet ?? '']) {
    const wanted = readIpSubnet(text);
    if (wanted === undefined) continue;
    for (const other of tx.list('network')) {
      const has = [other.subnet || other.spec.subnet, other.ipv6?.subnet ?? other.spec.ipv6?.subnet ?? ''];
      const clash = has.find((one) => {
        const range = readIpSubnet(one);
        return range !== undefined && subnetsOverlap(wanted, range);
      });
      if (clash === undefined) continue;
      throw new TsswarmError('IN_USE', `${action}: its subnet ${text} overlaps that of network "${other.spec.name}"`, {
        hint: `choose another subnet, or none: "${other.spec.name}" has ${clash}`,
      });
    }
  }
}

const invalid = (message: string): TsswarmError => new TsswarmError('INVALID_INPUT', message);
