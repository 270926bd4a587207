import type { ProjectId, ServiceId, TaskId } from '../../base/ids.ts';
import type { Meta, Network, Node, Service, ServiceSpec, Task, TaskStatus } from '../../proto/types/index.ts';
import type { ProjectView } from '../../cli/tscompose/project/view.ts';
import { networkSpec, serviceSpec, taskSpec } from './specs.ts';

/** A moment that objects are made at unless a test says otherwise. */
export const T0 = Date.UTC(2026, 0, 31, 12);

const meta = (at = T0): Meta => ({ version: 1, createdAt: at, updatedAt: at });

/** A stored service "<name>" of the project "app". */
export function service(name: string, change: Partial<Service> = {}, spec: Partial<ServiceSpec> = {}): Service {
  return {
    id: `service-${name}` as ServiceId,
    meta: meta(),
    projectId: 'project' as ProjectId,
    projectName: 'app',
    spec: serviceSpec(name, spec),
    specVersion: 1,
    revision: 1,
    stopped: false,
    restartCount: 0,
    ports: [],
    pendingDelete: false,
    virtualIps: [],
    ...change,
  };
}

/** The task of a slot of a service; a running one unless `status` says otherwise. */
export function task(of: Service, slot: number, status: Partial<TaskStatus> = {}, change: Partial<Task> = {}): Task {
  const name = `app-${of.spec.composeName}-${slot}`;
  const spec = change.spec ?? of.spec.task;
  const labels = { 'com.docker.compose.project': 'app', 'com.docker.compose.service': of.spec.composeName };
  return {
    id: `${name}-a` as TaskId,
    meta: meta(),
    serviceId: of.id,
    projectId: of.projectId,
    slot,
    name,
    specVersion: of.specVersion,
    revision: 1,
    desiredState: 'running',
    nodeId: 'node' as Task['nodeId'],
    addresses: [],
    oneOff: false,
    autoRemove: false,
    ports: [],
    predecessor: '',
    attempt: 0,
    notBefore: 0,
    restartCount: of.restartCount,
    held: false,
    graceOverrideMs: -1,
    ...change,
    spec: { ...taskSpec(spec), container: { ...spec.container, labels } },
    status: {
      state: 'running',
      timestamp: T0,
      message: 'started',
      error: '',
      containerId: 'c0ffee',
      pid: 1,
      oomKilled: false,
      health: 'none',
      imageDigest: 'sha256:1',
      restartCount: of.restartCount,
      ...status,
    },
  };
}

/** A stored network of the project "app". */
export function network(name: string, change: Partial<Network> = {}): Network {
  return {
    id: `network-${name}` as Network['id'],
    meta: meta(),
    projectId: 'project' as ProjectId,
    spec: networkSpec(name),
    subnet: '10.128.0.0/24',
    gateway: '10.128.0.1',
    pendingDelete: false,
    ...change,
  };
}

/** Puts objects into a view, as an event of a watch does. */
export function show(
  view: ProjectView,
  objects: {
    readonly services?: readonly Service[];
    readonly tasks?: readonly Task[];
    readonly networks?: readonly Network[];
  },
): ProjectView {
  view.take({
    complete: false,
    version: 1,
    services: objects.services ?? [],
    tasks: objects.tasks ?? [],
    networks: objects.networks ?? [],
    volumes: [],
    removedServices: [],
    removedTasks: [],
    removedNetworks: [],
    removedVolumes: [],
  });
  return view;
}

/** A ready, active worker with 4 CPUs and 8 GB; `labels` are the node's. */
export function node(
  id: string,
  labels: Readonly<Record<string, string>> = {},
  change: {
    readonly spec?: Partial<Node['spec']>;
    readonly description?: Partial<Node['description']>;
    readonly status?: Partial<Node['status']>;
  } = {},
): Node {
  return {
    id: id as Node['id'],
    meta: meta(),
    spec: { role: 'worker', availability: 'active', labels, ...change.spec },
    description: {
      hostname: id,
      platform: { os: 'linux', architecture: 'amd64' },
      resources: { nanoCpus: 4e9, memoryBytes: 8 * 2 ** 30 },
      engine: { version: '1', labels: {} },
      ...change.description,
    },
    status: { state: 'ready', message: '', address: '', ...change.status },
  };
}
