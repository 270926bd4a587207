import { DEFAULT_NETWORK_DRIVER, driverFault, missingOption } from '../../base/network-driver.ts';
import { TsswarmError } from '../../base/errors.ts';
import { EXAMPLE_CONTEXT, containerNameFault } from '../../base/template/index.ts';
import type { ComposeFile, ComposeNetwork, ComposeProject, ComposeService, ComposeVolume } from '../types/project.ts';
import type { TreeNode } from '../types/node.ts';
import { readAddresses } from './ipam.ts';
import { absolute } from './mounts.ts';
import type { PathContext } from './mounts.ts';
import { Reader, compact } from './reader.ts';
import { withSharedNetworks } from './shared-network.ts';
import { readService } from './service.ts';
import { checkVolumeTemplates } from './templates.ts';

export interface ProjectContext extends PathContext {
  readonly name: string;
  readonly files: readonly string[];
  readonly lookup: (name: string) => string | undefined;
  /** Env file values of each service. */
  readonly envFiles: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Active profiles; "*" is all of them. */
  readonly profiles: readonly string[];
  /** Services that were named on the command line: their profiles are active for them. */
  readonly named: readonly string[];
}

/** The canonical project of a validated tree. @throws INVALID_COMPOSE, NOT_SUPPORTED, NOT_FOUND */
export function readProject(root: TreeNode, context: ProjectContext): ComposeProject {
  const reader = new Reader(root, []);
  const list = reader.at('services');
  if (list.keys().length === 0) reader.refuse(undefined, 'has no services', 'add a "services:" map');
  const all = new Map<string, ComposeService>();
  for (const name of list.keys()) {
    const envFiles = context.envFiles.get(name) ?? new Map<string, string>();
    const serviceName = `${context.name}_${name}`;
    all.set(name, readService(list.at(name), { ...context, envFiles, serviceName }));
  }
  for (const name of context.named) {
    if (!all.has(name))
      throw new TsswarmError('NOT_FOUND', `selecting service "${name}": no such service in the project`);
  }
  const isActive = (name: string): boolean => {
    const profiles = all.get(name)?.profiles ?? [];
    return (
      profiles.length === 0 ||
      context.named.includes(name) ||
      profiles.some((p) => context.profiles.includes(p) || context.profiles.includes('*'))
    );
  };
  const services = Object.fromEntries([...all].filter(([name]) => isActive(name)));
  const fullName = (key: string): string => `${context.name}_${key}`;
  const project: ComposeProject = {
    name: context.name,
    workingDir: context.workingDir,
    files: context.files,
    services,
    disabled: [...all.keys()].filter((name) => !isActive(name)),
    profiles: [...new Set([...all.values()].flatMap((service) => service.profiles ?? []))].sort(),
    networks: used(
      readNetworks(reader, fullName),
      Object.values(services).flatMap(({ networks }) => Object.keys(networks)),
      fullName,
    ),
    volumes: readVolumes(reader, fullName),
    secrets: readFileObjects(reader.at('secrets'), context, fullName, ['file', 'environment']),
    configs: readFileObjects(reader.at('configs'), context, fullName, ['file', 'environment', 'content']),
  };
  const shared = withSharedNetworks(project, reader);
  checkConsistency(shared, all, reader);
  return dropUnused(shared);
}

function readNetworks(root: Reader, fullName: (key: string) => string): Record<string, ComposeNetwork> {
  const list = root.at('networks');
  return Object.fromEntries(
    list.keys().map((key) => {
      const item = list.at(key);
      const driver = item.text('driver');
      const kind = driver === undefined || driver === 'default' ? DEFAULT_NETWORK_DRIVER : driver;
      if (driverFault(kind, {}) !== undefined) item.notYet('driver', `"${kind}"`);
      const isExternal = readExternal(item);
      const missing = missingOption(kind, item.labels('driver_opts') ?? {});
      if (missing !== undefined)
        item.refuse('driver', `"${kind}" needs "${missing}" among driver_opts: the name of a card of the nodes`);
      for (const [option, value] of Object.entries(item.labels('driver_opts') ?? {})) {
        const fault = driverFault(kind, { [option]: value });
        if (fault === undefined) continue;
        if (fault.reason === 'is not supported') item.at('driver_opts').notYet(option, '(a driver option)');
        else item.at('driver_opts').refuse(option, fault.reason);
      }
      return [
        key,
        compact({
          name: isExternal.name ?? item.text('name') ?? (isExternal.external ? key : fullName(key)),
          driver: driver === 'default' ? undefined : driver,
          driver_opts: item.labels('driver_opts'),
          internal: item.bool('internal'),
          attachable: item.bool('attachable'),
          external: isExternal.external ? true : undefined,
          labels: item.labels('labels'),
          ...readAddresses(item),
        }) as ComposeNetwork,
      ];
    }),
  );
}

function readExternal(item: Reader): { readonly external: boolean; readonly name?: string } {
  const value = item.raw('external');
  if (typeof value === 'object' && value !== null) {
    const name = item.at('external').text('name');
    return name === undefined ? { external: true } : { external: true, name };
  }
  return { external: item.bool('external') ?? false };
}

function readVolumes(root: Reader, fullName: (key: string) => string): Record<string, ComposeVolume> {
  const list = root.at('volumes');
  return Object.fromEntries(
    list.keys().map((key) => {
      const item = list.at(key);
      const driver = item.text('driver');
      if (driver !== undefined && driver !== 'local' && driver !== 'default') item.notYet('driver', `"${driver}"`);
      const isExternal = readExternal(item);
      if (isExternal.external && (driver !== undefined || item.at('driver_opts').exists)) {
        item.refuse('external', 'and "driver" or "driver_opts" exclude each other');
      }
      const name = isExternal.name ?? item.text('name') ?? (isExternal.external ? key : fullName(key));
      const options = item.labels('driver_opts');
      return [
        key,
        compact({
          name,
          driver: driver === 'default' ? undefined : driver,
          driver_opts: options,
          external: isExternal.external ? true : undefined,
          labels: item.labels('labels'),
        }) as ComposeVolume,
      ];
    }),
  );
}

function readFileObjects(
  list: Reader,
  context: PathContext,
  fullName: (key: string) => string,
  sources: readonly string[],
): Record<string, ComposeFile> {
  return Object.fromEntries(
    list.keys().map((key) => {
      const item = list.at(key);
      const given = sources.filter((source) => item.raw(source) !== undefined);
      const isExternal = readExternal(item);
      if (isExternal.external) {
        const more = [...given, 'template_driver', 'labels'].find((name) => item.raw(name) !== undefined);
        if (more !== undefined) item.refuse('external', `and "${more}" exclude each other`);
        return [key, { name: isExternal.name ?? item.text('name') ?? key, external: true }];
      }
      if (given.length !== 1)
        item.refuse(
          undefined,
          `has ${given.length === 0 ? 'none' : 'several'} of ${sources.join(', ')}, expected exactly one`,
        );
      const file = item.text('file');
      const template = item.text('template_driver');
      if (template !== undefined && template !== 'golang')
        item.refuse('template_driver', `is "${template}", expected golang`);
      return [
        key,
        compact({
          name: item.text('name') ?? fullName(key),
          file: file === undefined ? undefined : absolute(file, context),
          environment: item.text('environment'),
          content: item.text('content'),
          template_driver: template,
          labels: item.labels('labels'),
        }) as ComposeFile,
      ];
    }),
  );
}

/** The default network exists as soon as a service is on it. */
function used(
  networks: Record<string, ComposeNetwork>,
  references: readonly string[],
  fullName: (key: string) => string,
): Record<string, ComposeNetwork> {
  if (networks['default'] !== undefined || !references.includes('default')) return networks;
  return { ...networks, default: { name: fullName('default') } };
}

/** Everything that a service names must exist, and no circle may be in what depends on what. */
function checkConsistency(project: ComposeProject, all: ReadonlyMap<string, ComposeService>, root: Reader): void {
  const containerNames = new Map<string, string>();
  for (const [name, service] of Object.entries(project.services)) {
    const reader = root.at('services', name);
    for (const network of Object.keys(service.networks)) {
      if (project.networks[network] === undefined)
        reader.refuse('networks', `names "${network}", which is not defined under the top-level "networks"`);
    }
    for (const [index, mount] of service.volumes.entries()) {
      const volume = mount.type === 'volume' ? project.volumes[mount.source ?? ''] : undefined;
      if (volume !== undefined) checkVolumeTemplates(root.at('volumes', mount.source ?? ''), volume, service);
      if (mount.type !== 'volume' || mount.source === undefined || project.volumes[mount.source] !== undefined)
        continue;
      reader
        .at('volumes')
        .refuse(
          index,
          `names the volume "${mount.source}", which is not defined under the top-level "volumes"`,
          `add "volumes: {${mount.source}: }", or write "./${mount.source}" for a folder`,
        );
    }
    for (const kind of ['secrets', 'configs'] as const) {
      for (const [index, { source }] of service[kind].entries()) {
        if (project[kind][source] === undefined)
          reader.at(kind).refuse(index, `names "${source}", which is not defined under the top-level "${kind}"`);
      }
    }
    for (const [dependency, { required }] of Object.entries(service.depends_on)) {
      if (project.services[dependency] !== undefined || !required) continue;
      const known = all.has(dependency);
      reader.refuse(
        'depends_on',
        known
          ? `names "${dependency}", whose profile is not active`
          : `names "${dependency}", which is not a service of this project`,
        known ? 'activate the profile with --profile' : undefined,
      );
    }
    const replicas = service.deploy?.replicas ?? service.scale ?? 1;
    if (replicas < 0) reader.refuse('scale', `is ${replicas}, expected 0 or more`);
    if (
      service.scale !== undefined &&
      service.deploy?.replicas !== undefined &&
      service.scale !== service.deploy.replicas
    ) {
      reader.refuse('scale', 'and "deploy.replicas" say different numbers');
    }
    if (service.container_name !== undefined) {
      const named = { ...EXAMPLE_CONTEXT.service, labels: service.deploy?.labels ?? {} };
      const fault = containerNameFault(service.container_name, named, replicas);
      if (fault !== undefined) reader.refuse('container_name', fault);
      const other = containerNames.get(service.container_name);
      if (other !== undefined)
        reader.refuse('container_name', `"${service.container_name}" is the name of service "${other}" too`);
      containerNames.set(service.container_name, name);
    }
  }
  for (const name of Object.keys(project.services)) refuseCycle(project, name, [], root);
}

function refuseCycle(project: ComposeProject, name: string, path: readonly string[], root: Reader): void {
  if (path.includes(name)) {
    root
      .at('services', name)
      .refuse('depends_on', `makes a circle: ${[...path.slice(path.indexOf(name)), name].join(' -> ')}`);
  }
  for (const dependency of Object.keys(project.services[name]?.depends_on ?? {}))
    refuseCycle(project, dependency, [...path, name], root);
}

/** Resources that no active service uses are left out. */
function dropUnused(project: ComposeProject): ComposeProject {
  const services = Object.values(project.services);
  const keep = <T>(objects: Readonly<Record<string, T>>, names: Iterable<string>): Record<string, T> => {
    const wanted = new Set(names);
    return Object.fromEntries(Object.entries(objects).filter(([key]) => wanted.has(key)));
  };
  return {
    ...project,
    networks: keep(
      project.networks,
      services.flatMap(({ networks }) => Object.keys(networks)),
    ),
    volumes: keep(
      project.volumes,
      services.flatMap(({ volumes }) =>
        volumes.flatMap(({ type, source }) => (type === 'volume' && source !== undefined ? [source] : [])),
      ),
    ),
    secrets: keep(
      project.secrets,
      services.flatMap(({ secrets }) => secrets.map(({ source }) => source)),
    ),
    configs: keep(
      project.configs,
      services.flatMap(({ configs }) => configs.map(({ source }) => source)),
    ),
  };
}
