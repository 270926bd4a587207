import { TsswarmError } from '../../../base/errors.ts';
import { MTU_OPTION, directLink } from '../../../base/network-driver.ts';
import { TemplateFault, expandText } from '../../../base/template/index.ts';
import type { TaskContext } from '../../../base/template/index.ts';
import type { ContainerId, TaskId } from '../../../base/ids.ts';
import type { ContainerCreate, FileContent, SandboxInterface, SandboxRequest } from '../../../node-engine/types.ts';
import type {
  ContainerSpec,
  FileReference,
  GenericResource,
  NodeDescription,
  SecretSpec,
  Task,
} from '../../../proto/types/index.ts';
import type { Assignments } from '../assignments.ts';
import { containerIdOf } from '../container-id.ts';

/** Label by which the container of a task is found from outside. */
export const TASK_ID_LABEL = 'com.docker.swarm.task.id';

/**
 * What the engine is asked to make for a task.
 * @param adopt the stopped container of the task's predecessor, when this node has it; '' otherwise
 * @param node what this node is
 * @param fenced it does not outlive the node's lease
 * @throws NOT_FOUND when a network, secret or config of the task has not been assigned, INVALID_INPUT for a template that cannot be
 *   expanded
 */
export function containerRequest(
  task: Task,
  imageId: string,
  assignments: Assignments,
  adopt: ContainerId | '',
  node: NodeDescription,
  fenced: boolean,
): ContainerCreate {
  const { spec } = task;
  const expand = expander(task, assignments, node);
  return {
    id: containerIdOf(task.id as TaskId),
    name: task.name,
    spec: withResources(spec.container, task.generic ?? []),
    imageId,
    limits: spec.limits,
    log: spec.log,
    sandbox: sandboxOf(task, assignments),
    secrets: files(spec.container.secrets, assignments.secrets, 'secret', expand),
    configs: files(spec.container.configs, assignments.configs, 'config', expand),
    labels: { [TASK_ID_LABEL]: task.id },
    adopt,
    ...(fenced ? { fenced } : {}),
    specVersion: task.specVersion,
  };
}

/**
 * What was set aside for the task, told to its processes as Docker does: DOCKER_RESOURCE_<KIND>, the names or the number. Names that
 * are devices of the node are devices of the container.
 */
function withResources(container: ContainerSpec, generic: readonly GenericResource[]): ContainerSpec {
  if (generic.length === 0) return container;
  const env = generic.map(({ kind, count, names }) => {
    const value = names.length === 0 ? String(count) : names.join(',');
    return `DOCKER_RESOURCE_${kind.toUpperCase()}=${value}`;
  });
  const paths = generic.flatMap(({ names }) => names).filter((name) => name.startsWith('/dev/'));
  const devices = paths.map((path) => ({ source: path, target: path, permissions: 'rwm' }));
  return { ...container, env: [...container.env, ...env], devices: [...container.devices, ...devices] };
}

function sandboxOf(task: Task, assignments: Assignments): SandboxRequest {
  const { networkMode } = task.spec;
  if (networkMode === 'networks' || networkMode === 'host' || networkMode === 'none')
    return { mode: networkMode, interfaces: interfaces(task, assignments) };
  const other = task.networkTask === undefined ? undefined : assignments.tasks.get(task.networkTask);
  if (other === undefined) {
    throw new TsswarmError(
      'NOT_FOUND',
      `giving "${task.name}" the network of "${networkMode.slice('service:'.length)}": its container is not on this node`,
    );
  }
  return {
    mode: 'container',
    container: containerIdOf(other.id as TaskId),
    interfaces: interfaces(other, assignments),
  };
}

/**
 * In the order in which the task has its networks. The default route goes through the one with the highest gateway priority that leads
 * out, the first of equals; that of IPv6 likewise, for itself.
 */
function interfaces(task: Task, assignments: Assignments): SandboxInterface[] {
  if (task.spec.networkMode !== 'networks') return [];
  const attached = task.addresses.map((address) => {
    const network = assignments.networks.get(address.networkId);
    if (network === undefined) {
      throw new TsswarmError(
        'NOT_FOUND',
        `attaching "${task.name}" to network "${address.networkId}": the manager did not send it`,
      );
    }
    return {
      ...address,
      network,
      attachment: task.spec.networks.find(({ network: name }) => name === network.spec.name),
    };
  });
  const leadsOut = attached
    .filter(({ network }) => !network.spec.internal)
    .sort((a, b) => (b.attachment?.gatewayPriority ?? 0) - (a.attachment?.gatewayPriority ?? 0));
  const [outward] = leadsOut;
  const outwardIpv6 = leadsOut.find(({ ipv6, network }) => ipv6 !== undefined && network.ipv6 !== undefined);
  return attached.map((one) => {
    const { networkId, ipv4, ipv6, network, attachment } = one;
    const direct = directLink(network.spec.driver, network.spec.options);
    return {
      networkId,
      ipv4,
      prefix: prefixOf(network.subnet),
      gateway: one === outward ? network.gateway : '',
      ...(ipv6 === undefined || network.ipv6 === undefined
        ? {}
        : {
            ipv6: {
              address: ipv6,
              prefix: prefixOf(network.ipv6.subnet),
              gateway: one === outwardIpv6 ? network.ipv6.gateway : '',
            },
          }),
      ...(attachment?.macAddress === undefined ? {} : { macAddress: attachment.macAddress }),
      ...(attachment?.interfaceName === undefined ? {} : { name: attachment.interfaceName }),
      ...(direct === undefined ? {} : { direct: { ...direct, mtu: Number(network.spec.options[MTU_OPTION] ?? 0) } }),
    };
  });
}

const prefixOf = (subnet: string): number => Number(subnet.split('/')[1]);

type Files = ReadonlyMap<string, { readonly spec: SecretSpec }>;

/**
 * Fills the template of a secret or config for a task: with what all templates know, and `secret`, `config` and `env`, which look for
 * what this task has (swarmkit, template/context.go).
 */
function expander(
  task: Task,
  assignments: Assignments,
  { hostname, platform }: NodeDescription,
): (spec: SecretSpec, kind: string) => Uint8Array {
  const { env, secrets, configs } = task.spec.container;
  const contentOf = (kind: string, references: readonly FileReference[], objects: Files, base: string) => {
    return (name: unknown): string => {
      const target = String(name);
      const found = references.find((one) => one.target === target || one.target === base + target);
      const spec = [...objects.values()].find((object) => object.spec.name === found?.name)?.spec;
      if (spec === undefined) throw new Error(`the container has no ${kind} at "${target}"`);
      return Buffer.from(spec.data).toString('utf8');
    };
  };
  const isNumbered = task.slot > 0 && task.boundNode === undefined;
  const context: TaskContext = {
    service: { id: task.serviceId, name: task.service?.name ?? '', labels: task.service?.labels ?? {} },
    node: { id: task.nodeId, hostname, os: platform.os, architecture: platform.architecture },
    task: { id: task.id, name: task.name, slot: isNumbered ? String(task.slot) : task.nodeId },
  };
  const functions = {
    secret: contentOf('secret', secrets, assignments.secrets, '/run/secrets/'),
    config: contentOf('config', configs, assignments.configs, '/'),
    env: (name: unknown): string => {
      const prefix = `${String(name)}=`;
      return env.find((pair) => pair.startsWith(prefix))?.slice(prefix.length) ?? '';
    },
  };
  return ({ name, data }, kind) => {
    const text = Buffer.from(data).toString('utf8');
    try {
      return Buffer.from(expandText(text, context, functions));
    } catch (error) {
      if (!(error instanceof TemplateFault)) throw error;
      const line = text.slice(0, error.offset).split('\n').length;
      throw new TsswarmError('INVALID_INPUT', `expanding ${kind} "${name}", line ${line}: ${error.message}`);
    }
  };
}

function files(
  references: readonly FileReference[],
  objects: Files,
  kind: 'secret' | 'config',
  expand: (spec: SecretSpec, kind: string) => Uint8Array,
): FileContent[] {
  if (references.length === 0) return [];
  const byName = new Map([...objects.values()].map(({ spec }) => [spec.name, spec]));
  return references.map(({ name, ...place }) => {
    const spec = byName.get(name);
    if (spec === undefined) {
      throw new TsswarmError('NOT_FOUND', `giving ${kind} "${name}" to the container: the manager did not send it`);
    }
    return { ...place, data: spec.templateDriver === undefined ? spec.data : expand(spec, kind) };
  });
}
