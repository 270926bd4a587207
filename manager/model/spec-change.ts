import type { ContainerSpec, Labels, ServiceSpec, TaskSpec } from '../../proto/types/index.ts';

/** What a change of a field does to running tasks: nothing (`keep`) or a replacement. Live changes join this table later. */
export type Effect = 'keep' | 'replace';

/** Every field of a service decided on, once: a new one does not compile before it stands here. */
const SERVICE: Record<keyof ServiceSpec, Effect | 'nested'> = {
  name: 'replace',
  composeName: 'replace',
  labels: 'keep',
  replicas: 'keep',
  task: 'nested',
  ports: 'keep',
  dependsOn: 'keep',
  update: 'keep',
  containerName: 'replace',
  rollback: 'keep',
  // Refused before: it cannot change.
  mode: 'replace',
  rebalance: 'keep',
  endpointMode: 'keep',
  affinity: 'keep',
};

const TASK: Record<keyof TaskSpec, Effect | 'nested'> = {
  container: 'nested',
  limits: 'replace',
  reservations: 'replace',
  restart: 'replace',
  networkMode: 'replace',
  networks: 'replace',
  log: 'replace',
  constraints: 'replace',
  forceUpdate: 'replace',
  // Tells where to put a task, not what it is: those that run stay where they are.
  placement: 'keep',
  // The container is told when it starts.
  fencing: 'replace',
};

const CONTAINER: Record<keyof ContainerSpec, Effect> = {
  image: 'replace',
  entrypoint: 'replace',
  command: 'replace',
  env: 'replace',
  workingDir: 'replace',
  user: 'replace',
  groups: 'replace',
  hostname: 'replace',
  domainname: 'replace',
  labels: 'replace',
  mounts: 'replace',
  secrets: 'replace',
  configs: 'replace',
  healthCheck: 'replace',
  stopSignal: 'replace',
  stopGraceMs: 'replace',
  tty: 'replace',
  openStdin: 'replace',
  readOnly: 'replace',
  privileged: 'replace',
  init: 'replace',
  capAdd: 'replace',
  capDrop: 'replace',
  securityOpt: 'replace',
  sysctls: 'replace',
  ulimits: 'replace',
  devices: 'replace',
  extraHosts: 'replace',
  dns: 'replace',
  dnsSearch: 'replace',
  dnsOptions: 'replace',
  shmBytes: 'replace',
  oomScoreAdj: 'replace',
  // Only decides how the image is fetched the next time.
  pullPolicy: 'keep',
  pidMode: 'replace',
  ipcMode: 'replace',
  postStart: 'replace',
  preStop: 'replace',
};

/** How two specs of a service differ. */
export interface SpecChange {
  /** Paths of the differing fields: "task.container.image". */
  readonly fields: readonly string[];
  /** Whether running tasks have to be replaced. */
  readonly replaces: boolean;
}

/** Compares two specs by meaning: the order of map keys does not count. */
export function compareServiceSpecs(before: ServiceSpec, after: ServiceSpec): SpecChange {
  const fields: string[] = [];
  let replaces = false;
  const walk = <T extends object>(table: Record<string, Effect | 'nested'>, a: T, b: T, path: string): void => {
    for (const [field, effect] of Object.entries(table)) {
      const [left, right] = [a[field as keyof T], b[field as keyof T]];
      if (effect === 'nested') {
        walk(field === 'task' ? TASK : CONTAINER, left as object, right as object, `${path}${field}.`);
      } else if (meaning(path + field, left) !== meaning(path + field, right)) {
        fields.push(path + field);
        replaces ||= effect === 'replace';
      }
    }
  };
  walk(SERVICE, before, after, '');
  return { fields, replaces };
}

/** Labels that tools read and that follow from the rest of the file, or from where it is: another value makes no other container. */
const DERIVED_LABELS = /^com\.docker\.compose\.(project\.working_dir|project\.config_files|config-hash|depends_on)$/;

/** The labels of a container that are somebody's own. */
export const ownLabels = (labels: Labels): Labels =>
  Object.fromEntries(Object.entries(labels).filter(([key]) => !DERIVED_LABELS.test(key)));

const meaning = (path: string, value: unknown): string =>
  canonical({ value: path === 'task.container.labels' ? ownLabels(value as Labels) : value });

/**
 * JSON with sorted keys and without absent fields; bytes as base64. Equal texts mean equal values. An empty map or list is an absent one:
 * what was read back from the disk has it where it was left out before. A command of no words is one, though.
 */
export function canonical(value: unknown): string {
  return (
    JSON.stringify(value, (_, inner: unknown) => {
      if (inner instanceof Uint8Array) return Buffer.from(inner).toString('base64');
      if (!isMap(inner)) return inner;
      const sorted = Object.entries(inner).filter(([key, field]) => !isNothing(key, field));
      return Object.fromEntries(sorted.sort(([a], [b]) => (a < b ? -1 : 1)));
    }) ?? 'undefined'
  );
}

const isMap = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);

function isNothing(key: string, value: unknown): boolean {
  if (value === undefined) return true;
  if (Array.isArray(value)) return value.length === 0 && key !== 'args';
  return isMap(value) && Object.entries(value).every(([inner, field]) => isNothing(inner, field));
}
