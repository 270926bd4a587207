import { EXAMPLE_CONTEXT, TemplateFault, expandText, hasTemplate, templateFault } from '../../base/template/index.ts';
import type { TaskContext } from '../../base/template/index.ts';
import type { ContainerSpec, Mount, Node, Service, ServiceSpec, Task, TaskSpec } from '../../proto/types/index.ts';

type Expand = (text: string) => string;

/**
 * Every text of a task in which templates are honoured, as Docker has it (swarmkit, template/expand.go): hostname, values of the
 * environment, sources, targets, labels and driver options of mounts, and aliases on networks. Asked once for all of them.
 */
function mapTexts(spec: TaskSpec, expand: (text: string, where: string) => string): TaskSpec {
  const { container } = spec;
  return {
    ...spec,
    networks: spec.networks.map((network) => ({
      ...network,
      aliases: network.aliases.map((alias) => expand(alias, `an alias on network "${network.network}"`)),
    })),
    container: {
      ...container,
      hostname: expand(container.hostname, 'the hostname'),
      env: container.env.map((pair) => {
        const split = pair.indexOf('=');
        if (split < 0) return pair;
        const name = pair.slice(0, split);
        return `${name}=${expand(pair.slice(split + 1), `the environment variable ${name}`)}`;
      }),
      mounts: container.mounts.map((mount) =>
        expandMount(mount, (text) => expand(text, `the mount at ${mount.target}`)),
      ),
    },
  };
}

function expandMount(mount: Mount, expand: Expand): Mount {
  const target = expand(mount.target);
  if (mount.type === 'tmpfs') return { ...mount, target };
  const source = expand(mount.source);
  if (mount.type === 'bind') return { ...mount, target, source };
  return {
    ...mount,
    target,
    source,
    labels: mapValues(mount.labels, expand),
    driverOptions: mapValues(mount.driverOptions, expand),
  };
}

const mapValues = (values: Readonly<Record<string, string>>, expand: Expand): Record<string, string> =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, expand(value)]));

/** Whether something of the task is to be expanded. */
export function hasTemplates({ networks, container }: TaskSpec): boolean {
  const { hostname, env, mounts } = container;
  return (
    hasTemplate(hostname) ||
    env.some(hasTemplate) ||
    networks.some(({ aliases }) => aliases.some(hasTemplate)) ||
    mounts.some(
      (mount) =>
        hasTemplate(mount.target) ||
        (mount.type !== 'tmpfs' && hasTemplate(mount.source)) ||
        (mount.type === 'volume' &&
          [...Object.values(mount.labels), ...Object.values(mount.driverOptions)].some(hasTemplate)),
    )
  );
}

/** What is wrong with the templates of a service, in one sentence without its subject; undefined: nothing. */
export function serviceTemplateFault(spec: ServiceSpec): string | undefined {
  if (!hasTemplates(spec.task)) return undefined;
  const context = { ...EXAMPLE_CONTEXT, service: { id: 'serviceid', name: spec.name, labels: spec.labels } };
  let found: string | undefined;
  mapTexts(spec.task, (text, where) => {
    const fault = templateFault(text, context);
    if (fault !== undefined) found ??= `${where} ("${text}") is not a template that can be expanded: ${fault.message}`;
    return text;
  });
  return found;
}

/**
 * A new task whose volumes are named as far as that can be known before it has a node: the scheduler asks where they are.
 * What names the node is expanded with everything else, by {@link expandOnNode}.
 */
export function expandVolumes(task: Task, service: Pick<Service, 'id' | 'spec'>): Task {
  const { mounts } = task.spec.container;
  if (!mounts.some((mount) => mount.type === 'volume' && hasTemplate(mount.source))) return task;
  const context = contextOf(task, service, undefined);
  const expanded = mounts.map((mount) => {
    if (mount.type !== 'volume' || templateFault(mount.source, context) !== undefined) return mount;
    return { ...mount, source: expandText(mount.source, context) };
  });
  return withContainer(task, { ...task.spec.container, mounts: expanded });
}

/**
 * The task as it runs on a node, every template expanded.
 * @throws TemplateFault where that depends on the node and cannot be done
 */
export function expandOnNode(task: Task, service: Pick<Service, 'id' | 'spec'>, node: Node): Task {
  if (!hasTemplates(task.spec)) return task;
  const context = contextOf(task, service, node);
  const spec = mapTexts(task.spec, (text, where) => {
    try {
      return expandText(text, context);
    } catch (error) {
      if (!(error instanceof TemplateFault)) throw error;
      throw new TemplateFault(`expanding ${where} ("${text}"): ${error.message}`, error.offset);
    }
  });
  return { ...task, spec };
}

/** What a service's templates are filled with for one of its tasks. */
function contextOf(task: Task, { id, spec }: Pick<Service, 'id' | 'spec'>, node: Node | undefined): TaskContext {
  const isNumbered = task.slot > 0 && task.boundNode === undefined;
  const slot = isNumbered ? String(task.slot) : (task.boundNode ?? node?.id);
  return {
    service: { id, name: spec.name, labels: spec.labels },
    task: { id: task.id, name: task.name, ...(slot === undefined ? {} : { slot }) },
    ...(node === undefined ? {} : { node: describedNode(node) }),
  };
}

const describedNode = ({ id, description }: Node): NonNullable<TaskContext['node']> => ({
  id,
  hostname: description.hostname,
  os: description.platform.os,
  architecture: description.platform.architecture,
});

const withContainer = (task: Task, container: ContainerSpec): Task => ({ ...task, spec: { ...task.spec, container } });

/** What templates in secrets and configs are filled with on the task's node; nothing for a task that has none of these. */
export function annotations(
  { spec }: Pick<Service, 'spec'>,
  { secrets, configs }: Pick<ContainerSpec, 'secrets' | 'configs'>,
): Pick<Task, 'service'> {
  return secrets.length + configs.length === 0 ? {} : { service: { name: spec.name, labels: spec.labels } };
}
