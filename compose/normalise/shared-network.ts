import type { ComposeDependency, ComposeProject, ComposeService } from '../types/project.ts';
import type { Reader } from './reader.ts';

/**
 * Services that share the network of another: "container:<name>" becomes the service that has this container, and they depend on it, as
 * Compose has it: they start after it and follow its restarts.
 * @throws INVALID_COMPOSE, NOT_SUPPORTED for a container of somebody else
 */
export function withSharedNetworks(project: ComposeProject, root: Reader): ComposeProject {
  const services = Object.entries(project.services).map(([name, service]): readonly [string, ComposeService] => {
    const mode = service.network_mode;
    if (mode === undefined || !mode.includes(':')) return [name, service];
    const reader = root.at('services', name);
    const target = mode.startsWith('service:')
      ? mode.slice('service:'.length)
      : serviceOfContainer(project, mode, reader);
    const other = project.services[target];
    if (other === undefined) reader.refuse('network_mode', `names "${target}", which is not a service of this project`);
    if (target === name) reader.refuse('network_mode', 'names the service itself');
    if (other?.network_mode !== undefined)
      reader.refuse('network_mode', `names "${target}", which has no network of its own: share what that shares`);
    const known = service.depends_on[target];
    const dependency: ComposeDependency = { condition: 'service_started', ...known, required: true, restart: true };
    return [
      name,
      { ...service, network_mode: `service:${target}`, depends_on: { ...service.depends_on, [target]: dependency } },
    ];
  });
  return { ...project, services: Object.fromEntries(services) };
}

/** The service of the project that has a container of that name. */
function serviceOfContainer(project: ComposeProject, mode: string, reader: Reader): string {
  const container = mode.slice('container:'.length);
  const found = Object.entries(project.services).find(
    ([name, service]) => (service.container_name ?? `${project.name}-${name}-1`) === container,
  );
  if (found === undefined)
    return reader.notYet('network_mode', `"${mode}", a container of no service of this project,`);
  return found[0];
}
