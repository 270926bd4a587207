import { interfaceFault } from '../../base/address-plan.ts';
import { TsswarmError } from '../../base/errors.ts';
import { isDirect } from '../../base/network-driver.ts';
import { isOpenPort, numbersOf } from '../../base/published-port.ts';
import { containerNameFault } from '../../base/template/index.ts';
import type {
  DesiredProject,
  FileKind,
  Network,
  PublishedPort,
  SecretSpec,
  Service,
  ServiceSpec,
} from '../../proto/types/index.ts';
import { choosePort, numbered, portsClash } from '../model/ports.ts';
import { isFinal } from '../model/task-state.ts';
import type { ReadTransaction } from '../store/types.ts';
import { sharedNetworkFault } from '../model/shared-network.ts';
import { serviceTemplateFault } from '../model/templates.ts';
import { validateNetwork } from './networks.ts';
import { placementFault } from './placement.ts';

const PROJECT_NAME = /^[a-z0-9][a-z0-9_-]*$/;
const OBJECT_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
/** What can be a name in DNS, as Docker Swarm asks for. */
const SERVICE_NAME = /^[a-zA-Z0-9]+(?:[-_]+[a-zA-Z0-9]+)*$/;
const LONGEST_SERVICE_NAME = 63;
const LONGEST_FILE_NAME = 255;
const MAX_SECRET_BYTES = 500 * 1024;
const MAX_CONFIG_BYTES = 1000 * 1024;
/** Docker's smallest memory limit is 6 MiB; swarmkit's 4 MiB. */
const MIN_MEMORY_BYTES = 4 * 1024 * 1024;

/**
 * Refuses a project that can never become true, before anything changes.
 * @throws INVALID_INPUT, NOT_FOUND, PORT_IN_USE, TOO_LARGE, naming the service and field
 */
export function validateProject(project: DesiredProject, tx: ReadTransaction): void {
  if (!PROJECT_NAME.test(project.name)) {
    throw invalid(`applying project "${project.name}": the name must match [a-z0-9][a-z0-9_-]*`);
  }
  for (const kind of ['services', 'networks', 'volumes', 'secrets', 'configs'] as const) {
    unique(
      project[kind].map(({ name }) => name),
      `${kind} of project "${project.name}"`,
    );
    for (const { name } of project[kind]) {
      if (!OBJECT_NAME.test(name))
        throw invalid(`applying project "${project.name}": "${name}" is not a name for one of its ${kind}`);
    }
  }
  for (const spec of project.secrets) validateFile('secret', spec);
  for (const spec of project.configs) validateFile('config', spec);
  const names = {
    networks: new Map([
      ...project.networks.map(({ name, driver }) => [name, driver] as const),
      ...project.externalNetworks.map((name) => [name, driverOf(tx, name)] as const),
    ]),
    secrets: new Set([...project.secrets.map(({ name }) => name), ...project.externalSecrets]),
    configs: new Set([...project.configs.map(({ name }) => name), ...project.externalConfigs]),
    services: new Map(project.services.map((service) => [service.composeName, service])),
  };
  for (const spec of project.networks) validateNetwork(`making network "${spec.name}"`, spec);
  for (const service of project.services) checkService(service, names, tx);
  refuseCycles(project.services);
  refusePortClashes(project.services, project.name, tx);
  for (const name of project.externalNetworks) {
    if (tx.find('network', 'name', name).length > 0) continue;
    throw new TsswarmError(
      'NOT_FOUND',
      `applying project "${project.name}": external network "${name}" does not exist`,
      {
        hint: 'bring up the project that makes it first, or remove "external: true"',
      },
    );
  }
  demandFiles(project.name, 'secret', project.externalSecrets, tx);
  demandFiles(project.name, 'config', project.externalConfigs, tx);
}

/** @throws NOT_FOUND naming the first that nobody has made */
function demandFiles(project: string, kind: FileKind, names: readonly string[], tx: ReadTransaction): void {
  const missing = names.find((name) => tx.find(kind, 'name', name).length === 0);
  if (missing === undefined) return;
  throw new TsswarmError('NOT_FOUND', `applying project "${project}": external ${kind} "${missing}" does not exist`, {
    hint: `make it first: tsswarm ${kind} create ${missing} <file>`,
  });
}

/** Refuses a secret or config that cannot be stored. @throws INVALID_INPUT, TOO_LARGE */
export function validateFile(kind: FileKind, { name, data, templateDriver }: SecretSpec): void {
  if (!OBJECT_NAME.test(name) || name.length > LONGEST_FILE_NAME)
    throw invalid(`storing ${kind} "${name}": the name must be one to ${LONGEST_FILE_NAME} of [a-zA-Z0-9_.-]`);
  const [least, most] = kind === 'secret' ? [1, MAX_SECRET_BYTES] : [0, MAX_CONFIG_BYTES];
  if (data.length < least || data.length > most) {
    const words = kind === 'secret' ? `${least} to ${most}` : `at most ${most}`;
    throw new TsswarmError('TOO_LARGE', `storing ${kind} "${name}": it has ${data.length} bytes, expected ${words}`);
  }
  if (templateDriver !== undefined && (templateDriver as string) !== 'golang')
    throw invalid(`storing ${kind} "${name}": its template driver is "${String(templateDriver)}", expected golang`);
}

/**
 * Refuses a change of a single service that can never become true.
 * @param known the service as it is; undefined: it is made, for no project
 * @throws as {@link validateProject}
 */
export function validateService(tx: ReadTransaction, spec: ServiceSpec, known: Service | undefined): void {
  if (known === undefined && !(SERVICE_NAME.test(spec.name) && spec.name.length <= LONGEST_SERVICE_NAME)) {
    throw invalid(
      `creating service "${spec.name}": the name must be one to ${LONGEST_SERVICE_NAME} letters and digits, with single - or _ between them`,
    );
  }
  const namesOf = (table: 'network' | 'secret' | 'config'): ReadonlySet<string> =>
    new Set(tx.list(table).flatMap((one) => ('pendingDelete' in one && one.pendingDelete ? [] : [one.spec.name])));
  const siblings = known === undefined || known.projectId === '' ? [] : tx.find('service', 'project', known.projectId);
  const names = {
    networks: new Map([...namesOf('network')].map((name) => [name, driverOf(tx, name)])),
    secrets: namesOf('secret'),
    configs: namesOf('config'),
    services: new Map([...siblings.map((service) => service.spec), spec].map((one) => [one.composeName, one])),
  };
  checkService(spec, names, tx);
  refusePortClashes([spec], known?.projectName ?? '', tx);
}

const driverOf = (tx: ReadTransaction, network: string): string =>
  tx.find('network', 'name', network)[0]?.spec.driver ?? '';

/** What a service may refer to. */
interface KnownNames {
  /** Their drivers, by name. */
  readonly networks: ReadonlyMap<string, string>;
  readonly secrets: ReadonlySet<string>;
  readonly configs: ReadonlySet<string>;
  /** The project's services by compose name. */
  readonly services: ReadonlyMap<string, ServiceSpec>;
}

/** What is given to one container only cannot be had by several, nor by an old and a new one at the same time. */
function checkInterfaces({ task, replicas, mode, update }: ServiceSpec, refuse: (what: string) => never): void {
  const names = new Set<string>();
  for (const attachment of task.networks) {
    const { network, ipv4Address, ipv6Address = '', macAddress = '', interfaceName } = attachment;
    const fault = interfaceFault(attachment);
    if (fault !== undefined) refuse(`its ${INTERFACE_WORDS[fault.field]} on network "${network}" ${fault.reason}`);
    if (interfaceName !== undefined && names.size === names.add(interfaceName).size)
      refuse(`two of its interfaces are called "${interfaceName}"`);
    const fixed = [ipv4Address, ipv6Address, macAddress].find((text) => text !== '');
    if (fixed === undefined) continue;
    const has = `it has the address ${fixed} on network "${network}"`;
    if (mode === 'global' || mode === 'global-job') refuse(`${has}, and one container on each node: one can have it`);
    if (replicas > 1) refuse(`${has}, and ${replicas} replicas: one can have it`);
    if (update.order === 'start-first')
      refuse(`${has}: a new container cannot start before the old one gives it up (start-first)`);
  }
}

const INTERFACE_WORDS = {
  ipv4Address: 'IPv4 address',
  ipv6Address: 'IPv6 address',
  macAddress: 'hardware address',
  interfaceName: 'interface name',
} as const;

function checkService(service: ServiceSpec, names: KnownNames, tx: ReadTransaction): void {
  const { task } = service;
  const refuse = (what: string): never => {
    throw invalid(`applying service "${service.composeName}": ${what}`);
  };
  if (task.container.image === '') refuse('it has no image');
  if (service.replicas < 0) refuse(`replicas is ${service.replicas}, expected 0 or more`);
  const named = { id: 'serviceid', name: service.name, labels: service.labels };
  const nameFault =
    service.containerName === '' ? undefined : containerNameFault(service.containerName, named, service.replicas);
  if (nameFault !== undefined) refuse(`container name "${service.containerName}" ${nameFault}`);
  if (service.containerName !== '' && (service.mode === 'global' || service.mode === 'global-job')) {
    refuse(
      `container name "${service.containerName}" allows one container; a ${service.mode} service has one on each node`,
    );
  }
  if (
    task.limits.memoryBytes !== undefined &&
    task.limits.memoryBytes !== 0 &&
    task.limits.memoryBytes < MIN_MEMORY_BYTES
  ) {
    refuse(`the memory limit is ${task.limits.memoryBytes} bytes, expected at least 4 MiB`);
  }
  for (const { network } of task.networks)
    if (!names.networks.has(network)) refuse(`network "${network}" is not defined`);
  checkInterfaces(service, refuse);
  const isOnCards =
    task.networks.length > 0 && task.networks.every(({ network }) => isDirect(names.networks.get(network) ?? ''));
  if (service.ports.length > 0 && isOnCards)
    refuse(
      'it publishes ports, but is only on macvlan or ipvlan networks: its containers are reached there at their own addresses',
    );
  for (const { name } of task.container.secrets)
    if (!names.secrets.has(name)) refuse(`secret "${name}" is not defined`);
  for (const { name } of task.container.configs)
    if (!names.configs.has(name)) refuse(`config "${name}" is not defined`);
  for (const dependency of service.dependsOn) {
    if (dependency.required && !names.services.has(dependency.service))
      refuse(`it depends on "${dependency.service}", which is not defined`);
  }
  const nodes = Math.max(1, tx.list('node').length);
  for (const port of service.ports.filter(({ mode }) => mode === 'host')) {
    const [first, last] = numbersOf(port);
    const most = last - first + 1;
    if (service.replicas <= nodes * most) continue;
    const what =
      most === 1 ? 'a port in mode host allows one replica' : `${most} ports in mode host allow ${most} replicas`;
    refuse(`${what} per node: ${service.replicas} are wanted, there are ${nodes} nodes`);
  }
  const fault = placementFault(task) ?? serviceTemplateFault(service) ?? sharedNetworkFault(service, names.services);
  if (fault !== undefined) refuse(fault);
}

const invalid = (message: string): TsswarmError => new TsswarmError('INVALID_INPUT', message);

function unique(names: readonly string[], what: string): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) throw invalid(`applying ${what}: "${name}" stands there twice`);
    seen.add(name);
  }
}

function refuseCycles(services: readonly ServiceSpec[]): void {
  const byName = new Map(services.map((service) => [service.composeName, service]));
  const settled = new Set<string>();
  const visit = (name: string, path: readonly string[]): void => {
    if (settled.has(name)) return;
    if (path.includes(name))
      throw invalid(`applying services: dependency cycle ${[...path.slice(path.indexOf(name)), name].join(' -> ')}`);
    for (const { service } of byName.get(name)?.dependsOn ?? []) visit(service, [...path, name]);
    settled.add(name);
  };
  for (const name of byName.keys()) visit(name, []);
}

/** No two services may publish the same port, whichever project they are of. */
function refusePortClashes(services: readonly ServiceSpec[], projectName: string, tx: ReadTransaction): void {
  const own = new Set(services.map(({ name }) => name));
  const others = tx
    .list('service')
    .filter((service) => !service.pendingDelete && !(service.projectName === projectName && own.has(service.spec.name)))
    .flatMap((service) => [
      ...service.ports.map((port): OwnedPort => ({ port, owner: describeOwner(service) })),
      ...chosenPorts(service, tx),
    ]);
  const mine: OwnedPort[] = [];
  const all = services.flatMap((service) => service.ports.map((port) => ({ service, port })));
  // Those that are named come before those that are chosen.
  for (const { service, port } of all.toSorted((a, b) => Number(isOpenPort(a.port)) - Number(isOpenPort(b.port)))) {
    const rivalOf = (one: PublishedPort): OwnedPort | undefined =>
      [...others, ...mine].find((other) => portsClash(one, other.port));
    const refuse = (what: string, why: string): never => {
      throw new TsswarmError('PORT_IN_USE', `publishing ${what} for service "${service.composeName}": ${why}`, {
        hint: 'choose another published port, or take the other service down',
      });
    };
    const owner = `service "${service.composeName}"`;
    if (!isOpenPort(port)) {
      const rival = rivalOf(port);
      if (rival !== undefined) refuse(`port ${port.published}/${port.protocol}`, `${rival.owner} has it already`);
      mine.push({ port, owner });
      continue;
    }
    // For each container of its own, on a node that is not known yet.
    if (port.mode === 'host') continue;
    const had = tx.find('service', 'name', service.name)[0]?.ports ?? [];
    const chosen = choosePort(port, (one) => rivalOf(one) !== undefined, had);
    const [first, last] = numbersOf(port);
    if (chosen !== undefined) mine.push({ port: chosen, owner });
    else {
      const numbers = Array.from(
        { length: last - first + 1 },
        (_, i) => rivalOf(numbered(port, first + i))?.owner ?? '',
      );
      refuse(
        `one of the ports ${first}-${last}/${port.protocol}`,
        `none is free, ${[...new Set(numbers)].join(', ')} have them`,
      );
    }
  }
}

interface OwnedPort {
  readonly port: PublishedPort;
  /** As people are told of it. */
  readonly owner: string;
}

/** What was chosen for single containers: it is in nobody's description. */
function chosenPorts(service: Service, tx: ReadTransaction): readonly OwnedPort[] {
  if (!service.spec.ports.some((port) => port.mode === 'host' && isOpenPort(port))) return [];
  return tx
    .find('task', 'service', service.id)
    .filter((task) => !isFinal(task) && !task.oneOff)
    .flatMap((task) => task.ports.map((port) => ({ port, owner: describeOwner(service) })));
}

const describeOwner = (service: Service): string =>
  service.projectName === ''
    ? `service "${service.spec.name}"`
    : `service "${service.spec.composeName}" of project "${service.projectName}"`;

/**
 * Why a network cannot change while it is in use.
 * @throws IN_USE
 */
export function refuseNetworkChange(network: Network, field: string): never {
  throw new TsswarmError(
    'IN_USE',
    `changing "${field}" of network "${network.spec.name}": containers are attached to it`,
    {
      hint: 'take the project down first, then bring it up again',
    },
  );
}
