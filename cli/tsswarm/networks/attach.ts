import { readIp } from '../../../base/ip-address.ts';
import { TsswarmError } from '../../../base/errors.ts';
import { isGlobal } from '../../../manager/model/slots.ts';
import { isFinal } from '../../../manager/model/task-state.ts';
import type { NetworkAttachment, Service, ServiceSpec, Task } from '../../../proto/types/index.ts';
import { count, refuseValue } from '../services/flags/values.ts';
import { pickService } from '../services/find.ts';

/** What `tsswarm network connect` was given. */
export interface ConnectFlags {
  readonly alias?: readonly string[];
  readonly ip?: string;
  readonly ip6?: string;
  readonly gwPriority?: string;
  readonly driverOpt?: readonly string[];
  readonly link?: readonly string[];
  readonly linkLocalIp?: readonly string[];
}

/** The attachment that flags describe. @throws INVALID_INPUT, NOT_SUPPORTED for what Docker has and this has not */
export function attachmentOf(network: string, flags: ConnectFlags): NetworkAttachment {
  const refuse = (flag: string, given: readonly string[] | undefined, why: string): void => {
    if (given !== undefined && given.length > 0) throw new TsswarmError('NOT_SUPPORTED', `using ${flag}: ${why}`);
  };
  refuse('--driver-opt', flags.driverOpt, 'options are of the network, not of who is on it');
  refuse('--link', flags.link, 'give the other service an --alias on the network instead');
  refuse('--link-local-ip', flags.linkLocalIp, 'addresses are of the network: --ip and --ip6');
  const { alias = [], ip = '', ip6 = '', gwPriority } = flags;
  if (ip !== '' && readIp(ip)?.family !== 4) refuseValue('--ip', ip, 'expected an IPv4 address');
  if (ip6 !== '' && readIp(ip6)?.family !== 6) refuseValue('--ip6', ip6, 'expected an IPv6 address');
  return {
    network,
    aliases: [...new Set(alias)],
    ipv4Address: ip,
    ...(ip6 === '' ? {} : { ipv6Address: ip6 }),
    ...(gwPriority === undefined ? {} : { gatewayPriority: count('--gw-priority', gwPriority, -Infinity) }),
  };
}

/** A service on one network more. @throws ALREADY_EXISTS, NOT_SUPPORTED */
export function connected(spec: ServiceSpec, attachment: NetworkAttachment): ServiceSpec {
  const { network } = attachment;
  const networks = networksOf(spec, `connecting service "${spec.name}" to network "${network}"`);
  if (networks.some((one) => one.network === network))
    throw new TsswarmError('ALREADY_EXISTS', `service ${spec.name} is already on network ${network}`, {
      hint: `"tsswarm service update --network-add name=${network},alias=…" changes how`,
    });
  return { ...spec, task: { ...spec.task, networks: [...networks, attachment] } };
}

/** A service on one network less. @throws NOT_FOUND, INVALID_INPUT for its last one, NOT_SUPPORTED */
export function disconnected(spec: ServiceSpec, network: string): ServiceSpec {
  const networks = networksOf(spec, `disconnecting service "${spec.name}" from network "${network}"`);
  const left = networks.filter((one) => one.network !== network);
  if (left.length === networks.length)
    throw new TsswarmError('NOT_FOUND', `service ${spec.name} is not on network ${network}`);
  if (left.length === 0)
    throw new TsswarmError('INVALID_INPUT', `network ${network} is the only one of service ${spec.name}`, {
      hint: `connect it to another one first, or use "tsswarm service update --network-add none ${spec.name}"`,
    });
  return { ...spec, task: { ...spec.task, networks: left } };
}

function networksOf({ task }: ServiceSpec, action: string): readonly NetworkAttachment[] {
  if (task.networkMode === 'networks') return task.networks;
  throw new TsswarmError('NOT_SUPPORTED', `${action}: its network mode is "${task.networkMode}", it is on no networks`);
}

/**
 * The service that a user means: by itself, or by its one container, as with Docker's command.
 * @throws NOT_FOUND, CONFLICT when several are meant, NOT_SUPPORTED for one container of several
 */
export function pickAttachable(services: readonly Service[], tasks: readonly Task[], name: string): Service {
  const task = tasks.find(
    (one) => !isFinal(one) && (one.name === name || (name.length >= 4 && one.status.containerId.startsWith(name))),
  );
  const isService = services.some(({ id, spec }) => id === name || spec.name === name);
  if (task === undefined || isService) return pickService(services, name);
  if (task.oneOff)
    throw new TsswarmError('NOT_SUPPORTED', `container ${name} belongs to no service: it keeps its networks`, {
      hint: 'start another one on the networks that it needs',
    });
  const service = services.find(({ id }) => id === task.serviceId);
  if (service === undefined) return pickService(services, name);
  const others = tasks.filter((one) => one.serviceId === service.id && one.slot !== task.slot && !isFinal(one)).length;
  if (others === 0 && !isGlobal(service)) return service;
  throw new TsswarmError(
    'NOT_SUPPORTED',
    `container ${name} is one of ${others + 1} of service ${service.spec.name}: all of them are on the same networks`,
    { hint: `name the service: ${service.spec.name}` },
  );
}
