import { EXAMPLE_CONTEXT, hasTemplate, templateFault } from '../../base/template/index.ts';
import type { ComposeService, ComposeVolume } from '../types/project.ts';
import type { Reader } from './reader.ts';

const HINT = 'for braces that are meant as they are: {{"{{"}}';

/**
 * Refuses templates that could never be expanded, where they stand: in the hostname, the environment, volumes and aliases.
 * @throws INVALID_COMPOSE with the place
 */
export function checkTemplates(reader: Reader, service: ComposeService, serviceName: string): void {
  const context = {
    ...EXAMPLE_CONTEXT,
    service: { id: 'serviceid', name: serviceName, labels: service.deploy?.labels ?? {} },
  };
  const check = (text: string | null | undefined, at: Reader, key: string | number): void => {
    if (text === null || text === undefined || !hasTemplate(text)) return;
    const fault = templateFault(text, context);
    if (fault !== undefined) at.refuse(key, `is "${text}", a template that cannot be expanded: ${fault.message}`, HINT);
  };
  check(service.hostname, reader, 'hostname');
  for (const [name, value] of Object.entries(service.environment)) {
    if (value === null || !hasTemplate(value)) continue;
    const [at, key] = placeOfVariable(reader, name);
    check(value, at, key);
  }
  for (const [index, mount] of service.volumes.entries()) {
    const [at, key] = index < reader.at('volumes').keys().length ? ([reader.at('volumes'), index] as const) : ([reader, 'tmpfs'] as const); // prettier-ignore
    for (const text of [mount.source, mount.target, ...Object.values(mount.volume?.labels ?? {})]) check(text, at, key);
  }
  for (const [network, attachment] of Object.entries(service.networks)) {
    for (const [index, alias] of (attachment?.aliases ?? []).entries())
      check(alias, reader.at('networks', network, 'aliases'), index);
  }
}

/** Refuses a bad template that names or configures a volume for one of its users. @throws INVALID_COMPOSE with the place */
export function checkVolumeTemplates(
  item: Reader,
  { name, driver_opts: options = {} }: ComposeVolume,
  user: ComposeService,
): void {
  const context = { ...EXAMPLE_CONTEXT, service: { ...EXAMPLE_CONTEXT.service, labels: user.deploy?.labels ?? {} } };
  for (const [key, text] of [['name', name] as const, ...Object.entries(options)]) {
    const fault = templateFault(text, context);
    if (fault === undefined) continue;
    const at = key === 'name' ? item : item.at('driver_opts');
    at.refuse(key, `is "${text}", a template that cannot be expanded: ${fault.message}`, HINT);
  }
}

/** Where a variable was given: in `environment` by map or list, else in a file that `env_file` names. */
function placeOfVariable(reader: Reader, name: string): readonly [Reader, string | number] {
  const environment = reader.at('environment');
  const value = environment.value;
  if (Array.isArray(value)) {
    const index = value.findLastIndex((item) => String(item).startsWith(`${name}=`));
    if (index >= 0) return [environment, index];
  } else if (environment.keys().includes(name)) return [environment, name];
  return [reader, 'env_file'];
}
