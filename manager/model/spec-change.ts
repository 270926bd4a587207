import type {
  ContainerSpec,
  FieldEffect,
  Labels,
  LiveFeature,
  LogConfig,
  NetworkAttachment,
  ResourceLimits,
  ServiceSpec,
  TaskSpec,
} from '../../proto/types/index.ts';
import { isJob } from './slots.ts';

/**
 * What a change of a field does to tasks that run: nothing (`keep`); they are changed, where their nodes can (`live`); or others take
 * their place, for a reason that is told to people (`replace`).
 */
export type Rule =
  | {
      readonly effect: 'keep';
      /** Why others take their place after all, for these values; undefined: they do not. */
      readonly unless?: (before: unknown, after: unknown) => string | undefined;
    }
  | {
      readonly effect: 'live';
      readonly needs: LiveFeature;
      /** Why not, for these values; undefined: it is. */
      readonly unless?: (before: unknown, after: unknown) => string | undefined;
    }
  | { readonly effect: 'replace'; readonly because: string };

const keep: Rule = { effect: 'keep' };
const live = (needs: LiveFeature): Rule => ({ effect: 'live', needs });
const liveUnless = <T>(needs: LiveFeature, unless: (before: T, after: T) => string | undefined): Rule => ({
  effect: 'live',
  needs,
  unless: unless as (before: unknown, after: unknown) => string | undefined,
});
const replace = (because: string): Rule => ({ effect: 'replace', because });

/** Every field of a service decided on, once: a new one does not compile before it stands here. */
const SERVICE: Record<keyof ServiceSpec, Rule | 'nested'> = {
  name: replace('containers are named after it'),
  composeName: replace('containers are named after it'),
  labels: keep,
  replicas: keep,
  task: 'nested',
  ports: { effect: 'keep', unless: (before, after) => hostPortsDiffer(before, after) },
  dependsOn: keep,
  update: keep,
  containerName: replace('a container keeps its name'),
  rollback: keep,
  // Refused before: it cannot change.
  mode: replace('tasks of another mode are others'),
  rebalance: keep,
  endpointMode: keep,
  affinity: keep,
};

/** Ports of the whole cluster are the service's; those of a task's own node are told to it when it is made. */
function hostPortsDiffer(before: unknown, after: unknown): string | undefined {
  const ofHost = (ports: unknown): string =>
    canonical((ports as ServiceSpec['ports']).filter(({ mode }) => mode === 'host'));
  return ofHost(before) === ofHost(after) ? undefined : 'a port in host mode belongs to the container that has it';
}

/** The field that says where a task may be: for a task on a node that satisfies what it says now, nothing changes. */
export const CONSTRAINTS = 'task.constraints';

const TASK: Record<keyof TaskSpec, Rule | 'nested'> = {
  container: 'nested',
  limits: 'nested',
  reservations: replace('its node may not have that much left'),
  restart: live('settings'),
  networkMode: replace('a process keeps its network namespace'),
  networks: liveUnless<readonly NetworkAttachment[]>('networks', (before, after) => {
    const renamed = after.find(({ network, interfaceName }) => {
      const known = before.find((one) => one.network === network);
      return known !== undefined && known.interfaceName !== interfaceName;
    });
    return renamed === undefined ? undefined : `its interface on network "${renamed.network}" keeps its name`;
  }),
  log: liveUnless<LogConfig>('settings', (a, b) =>
    (a.driver === 'none') === (b.driver === 'none')
      ? undefined
      : 'a supervisor that keeps no log cannot begin one, and the other way round',
  ),
  links: live('networks'),
  // On a node that satisfies them; who knows the node says otherwise.
  constraints: live('settings'),
  forceUpdate: replace('it was asked for'),
  // Tells where to put a task, not what it is: those that run stay where they are.
  placement: keep,
  fencing: replace('a supervisor is told of the lease when it starts'),
  drift: live('settings'),
};

const LIMITS: Record<keyof ResourceLimits, Rule> = {
  nanoCpus: live('limits'),
  memoryBytes: live('limits'),
  memorySwapBytes: live('limits'),
  pids: live('limits'),
  cpuShares: live('limits'),
  cpusetCpus: live('limits'),
  blockIo: live('blockIo'),
};

const CONTAINER: Record<keyof ContainerSpec, Rule> = {
  image: replace('a running process keeps its program'),
  entrypoint: replace('a running process keeps its arguments'),
  command: replace('a running process keeps its arguments'),
  env: replace('a running process keeps its environment'),
  workingDir: replace('a running process keeps its working directory'),
  user: replace('a running process keeps its user'),
  groups: replace('a running process keeps its groups'),
  hostname: live('names'),
  domainname: live('names'),
  labels: live('settings'),
  mounts: live('mounts'),
  secrets: live('files'),
  configs: live('files'),
  healthCheck: live('settings'),
  stopSignal: live('settings'),
  stopGraceMs: live('settings'),
  tty: replace('a running process keeps its terminal'),
  openStdin: replace('a running process keeps its standard input'),
  readOnly: replace('the root is mounted when the container starts'),
  privileged: replace('a running process keeps its capabilities'),
  init: replace('process 1 stays who it is'),
  capAdd: replace('a running process keeps its capabilities'),
  capDrop: replace('a running process keeps its capabilities'),
  securityOpt: replace('a running process keeps its system call filter'),
  sysctls: liveUnless<ContainerSpec['sysctls']>('sysctls', (a, b) => {
    const lost = Object.keys(a).find((key) => b[key] === undefined);
    return lost === undefined ? undefined : `what ${lost} was before it was set is not known`;
  }),
  ulimits: live('resources'),
  devices: live('devices'),
  extraHosts: live('names'),
  dns: live('names'),
  dnsSearch: live('names'),
  dnsOptions: live('names'),
  shmBytes: live('mounts'),
  oomScoreAdj: live('resources'),
  // Only decides how the image is fetched the next time.
  pullPolicy: keep,
  pidMode: replace('a running process keeps its process ids'),
  ipcMode: replace('a running process keeps its shared memory'),
  // They are run when a container starts: one that runs has had its own.
  postStart: live('settings'),
  preStop: live('settings'),
};

/** New bytes of a secret or config that a task has. */
const CONTENT: Rule = live('files');

const NESTED: Readonly<Record<string, Readonly<Record<string, Rule | 'nested'>>>> = {
  'task.': TASK,
  'task.limits.': LIMITS,
  'task.container.': CONTAINER,
};

/** What a node can do for whom nothing is asked: for comparisons where no task runs. */
export const EVERY_FEATURE: ReadonlySet<LiveFeature> = new Set<LiveFeature>([
  'limits',
  'resources',
  'settings',
  'files',
  'mounts',
  'names',
  'sysctls',
  'networks',
  'devices',
  'blockIo',
]);

/** How two specs differ. */
export interface SpecChange {
  /** Paths of the differing fields: "task.container.image". */
  readonly fields: readonly string[];
  /** What each of them does to running tasks. */
  readonly effects: readonly FieldEffect[];
  /** Whether running tasks have to be replaced. */
  readonly replaces: boolean;
  /** Whether running tasks have to be changed, or replaced where their nodes cannot. */
  readonly touches: boolean;
}

/**
 * Compares two specs of a service by meaning: the order of map keys does not count.
 * @param features what all nodes can change on which tasks of it run
 */
export function compareServiceSpecs(
  before: ServiceSpec,
  after: ServiceSpec,
  features: ReadonlySet<LiveFeature> = EVERY_FEATURE,
): SpecChange {
  const can = isJob(after) ? 'job' : features;
  return summary(differences(SERVICE, before, after, '', can));
}

/** The same of what a task has and shall have. */
export function compareTaskSpecs(before: TaskSpec, after: TaskSpec, features: ReadonlySet<LiveFeature>): SpecChange {
  return summary(differences(TASK, before, after, 'task.', features));
}

/** What new bytes in a secret or config do. @param field "secret shop_key" */
export const contentEffect = (field: string, features: ReadonlySet<LiveFeature>): FieldEffect =>
  effectOf(field, CONTENT, features, undefined, undefined);

/** Whether tasks have to be replaced for something that their specs do not show: a name, bytes of a secret. */
export const replacesUnseen = ({ effects }: SpecChange): boolean =>
  effects.some(({ effect, field }) => effect === 'replace' && !field.startsWith('task.'));

/** Several changes as one. */
export function summary(effects: readonly FieldEffect[]): SpecChange {
  return {
    fields: effects.map(({ field }) => field),
    effects,
    replaces: effects.some(({ effect }) => effect === 'replace'),
    touches: effects.some(({ effect }) => effect !== 'keep'),
  };
}

type Ability = ReadonlySet<LiveFeature> | 'job';

function differences(
  table: Readonly<Record<string, Rule | 'nested'>>,
  before: object,
  after: object,
  path: string,
  can: Ability,
): FieldEffect[] {
  return Object.entries(table).flatMap(([name, rule]) => {
    const field = path + name;
    const [left, right] = [before[name as keyof typeof before], after[name as keyof typeof after]] as unknown[];
    if (rule === 'nested')
      return differences(NESTED[`${field}.`] ?? {}, left as object, right as object, `${field}.`, can);
    return meaning(field, left) === meaning(field, right) ? [] : [effectOf(field, rule, can, left, right)];
  });
}

function effectOf(field: string, rule: Rule, can: Ability, before: unknown, after: unknown): FieldEffect {
  switch (rule.effect) {
    case 'keep': {
      const why = rule.unless?.(before, after);
      return why === undefined ? { field, effect: 'keep', reason: '' } : { field, effect: 'replace', reason: why };
    }
    case 'replace':
      return { field, effect: 'replace', reason: rule.because };
    case 'live': {
      if (can === 'job') return { field, effect: 'replace', reason: 'a job that changes is run anew' };
      const why = rule.unless?.(before, after);
      if (why !== undefined) return { field, effect: 'replace', reason: why };
      if (can.has(rule.needs)) return { field, effect: 'live', reason: '' };
      return { field, effect: 'replace', reason: `its node cannot change the ${rule.needs} of running containers` };
    }
  }
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
