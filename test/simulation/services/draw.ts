import type {
  DesiredProject,
  NetworkAttachment,
  NetworkSpec,
  ServiceDependency,
  ServiceSpec,
  UpdateConfig,
  VolumeSpec,
} from '../../../proto/types/index.ts';
import { containerSpec } from '../../builders/container-spec.ts';
import { networkSpec, project, serviceSpec, taskSpec } from '../../builders/specs.ts';
import type { World } from '../world.ts';
import type { ChangeNature, Nature } from './kernel.ts';

/** A service of the simulation: what never changes of it, and what does. */
export interface Wish {
  readonly name: string;
  readonly kind: 'web' | 'data' | 'global' | 'shared' | 'job' | 'global-job';
  /** Its data is in a folder of the machine, not in a volume. */
  readonly inFolder: boolean;
  readonly checked: boolean;
  readonly update: UpdateConfig;
  readonly rollback: UpdateConfig;
  readonly maxPerNode: number;
  /** Published on the node itself; 0: none. */
  readonly hostPort: number;
  readonly dependsOn: readonly ServiceDependency[];
  replicas: number;
  version: number;
  nature: Nature;
  /** Counts changes that containers take while they run. */
  change: number;
  changeNature: ChangeNature;
  attached: Attached;
}

/** Networks that a service is on: that of the project, another one, where it has an alias or another one, or both. */
export type Attached = 'default' | 'both' | 'both, renamed' | 'other';
const ATTACHED: readonly Attached[] = ['default', 'both', 'both, renamed', 'other'];

/** What is told of a change in the label of that name: "7-dies". */
export const CHANGE_LABEL = 'change';

const NATURES: readonly Nature[] = [
  'good',
  'good',
  'good',
  'good',
  'good',
  'slow',
  'dies',
  'sick',
  'unpullable',
  'unstartable',
];

const CHANGE_NATURES: readonly ChangeNature[] = ['good', 'good', 'good', 'good', 'refused', 'dies'];

export const isJob = ({ kind }: Pick<Wish, 'kind'>): boolean => kind === 'job' || kind === 'global-job';
/** Its slots are nodes. */
export const isGlobal = ({ kind }: Pick<Wish, 'kind'>): boolean => kind === 'global' || kind === 'global-job';

/** Draws the services of a seed. */
export function drawWishes(world: World): readonly Wish[] {
  const kinds: Wish['kind'][] = ['web'];
  if (world.chance(0.6)) kinds.push('data');
  if (world.chance(0.4)) kinds.push('global');
  if (world.chance(0.4)) kinds.push('shared');
  if (world.chance(0.2)) kinds.push('web');
  if (world.chance(0.35)) kinds.push('job');
  if (world.chance(0.15)) kinds.push('global-job');
  if (world.chance(0.3)) kinds.push('web');
  const drawn: Wish[] = [];
  kinds.forEach((kind, index) => {
    const parallelism = world.pick([0, 1, 1, 2]);
    const maxPerNode = kind === 'web' && world.chance(0.2) ? 2 : 0;
    const hasPort = kind === 'web' ? world.chance(0.4) : kind === 'global' && world.chance(0.3);
    const hostPort = hasPort ? 8000 + index : 0;
    // Side by side they need room for both, and would write the same files.
    const order =
      maxPerNode > 0 || hostPort > 0 || kind === 'shared' || isJob({ kind })
        ? 'stop-first'
        : world.pick(['stop-first', 'stop-first', 'start-first'] as const);
    const config = (): UpdateConfig => ({
      parallelism,
      order,
      delayMs: world.pick([0, 0, 300]),
      monitorMs: world.pick([0, 500, 1500]),
      maxFailureRatio: world.pick([0, 0, 0.3]),
    });
    const update = { ...config(), failureAction: world.pick(['pause', 'continue', 'rollback', 'rollback'] as const) };
    drawn.push({
      name: `${kind}${index}`,
      kind,
      inFolder: kind === 'data' && world.chance(0.4),
      checked: world.chance(0.5) && !isJob({ kind }),
      update: isJob({ kind }) ? { parallelism: 0, delayMs: 0, order: 'stop-first' } : update,
      rollback: { ...config(), failureAction: world.pick(['pause', 'continue'] as const) },
      maxPerNode,
      hostPort,
      dependsOn: drawn.length > 0 && world.chance(0.4) ? [dependencyOn(world, world.pick(drawn))] : [],
      replicas: kind === 'data' ? world.integer(1, 2) : world.integer(1, 4),
      version: 0,
      nature: 'good',
      change: 0,
      changeNature: 'good',
      attached: world.pick(ATTACHED),
    });
  });
  return drawn;
}

function dependencyOn(world: World, target: Wish): ServiceDependency {
  const condition = isJob(target)
    ? 'completed'
    : target.checked
      ? world.pick(['healthy', 'started'] as const)
      : 'started';
  return { service: target.name, condition, required: world.chance(0.8), restart: world.chance(0.3) };
}

/** Changes one thing about one service. */
export function change(world: World, wishes: readonly Wish[]): void {
  const wish = world.pick(wishes);
  if (!isGlobal(wish) && world.chance(0.4)) {
    wish.replicas = wish.kind === 'data' ? world.integer(1, 2) : world.integer(0, 5);
    return;
  }
  if (world.chance(0.55)) {
    wish.change++;
    wish.changeNature = world.pick(CHANGE_NATURES);
    if (world.chance(0.5)) wish.attached = world.pick(ATTACHED);
    // Now and then together with what nothing that runs can become.
    if (world.chance(0.8)) return;
  }
  wish.version++;
  wish.nature = world.pick(NATURES);
}

/**
 * Everything as it shall be at the end: the same, in a version that works.
 * @param isReached whether a service has its present version in every slot: a slot that failed keeps its old container
 */
export function makeGood(
  world: World,
  wishes: readonly Wish[],
  machines: number,
  isReached: (name: string) => boolean,
): void {
  for (const wish of wishes) {
    // What is good stays as it is in half of the cases: nothing but the restart policy brings it back then.
    if (wish.nature !== 'good' || !isReached(wish.name) || world.chance(0.5)) wish.version++;
    wish.nature = 'good';
    if (wish.changeNature !== 'good') wish.change++;
    wish.changeNature = 'good';
    wish.replicas = Math.max(1, wish.replicas);
    // More than there is room for would wait for ever, and so would an update.
    if (wish.hostPort > 0) wish.replicas = Math.min(wish.replicas, machines);
    if (wish.maxPerNode > 0) wish.replicas = Math.min(wish.replicas, wish.maxPerNode * machines);
  }
}

/** On a file server: the same one everywhere. */
const NFS = { type: 'nfs', o: 'addr=10.0.0.9', device: ':/shared' } as const;
const SHARED: VolumeSpec = {
  name: 'app_shared',
  composeName: 'shared',
  driver: 'local',
  driverOptions: NFS,
  labels: {},
};
const DATA: VolumeSpec = { name: 'app_data', composeName: 'data', driver: 'local', driverOptions: {}, labels: {} };
const RESTART = { condition: 'any', delayMs: 100, maxDelayMs: 1000, maxAttempts: 0, windowMs: 0 } as const;

export function projectOf(wishes: readonly Wish[]): DesiredProject {
  return project(wishes.map(specOf), { networks: NETWORKS, volumes: [DATA, SHARED] });
}

/** Each machine has its own of the first; the second is between them. */
const NETWORKS: readonly NetworkSpec[] = [networkSpec('default'), networkSpec('other', { driver: 'overlay' })];

/** The attachments of a service, in the order that its containers have them in. */
export function networksOf({ attached }: Pick<Wish, 'attached'>): readonly NetworkAttachment[] {
  const on = (name: string, ...aliases: readonly string[]): NetworkAttachment => ({
    network: `app_${name}`,
    aliases,
    ipv4Address: '',
  });
  const other = on('other', attached === 'both, renamed' ? 'newer' : 'older');
  return [...(attached === 'other' ? [] : [on('default')]), ...(attached === 'default' ? [] : [other])];
}

/** The limit that a service's containers have in the end. */
export const cpusOf = ({ change }: Pick<Wish, 'change'>): number => 1e9 + change;

function specOf(wish: Wish): ServiceSpec {
  const { kind, name, version } = wish;
  const nature = isJob(wish) ? natureOfJob(wish.nature) : wish.nature;
  const mount = {
    type: 'volume',
    source: kind === 'shared' ? SHARED.name : DATA.name,
    target: '/data',
    readOnly: false,
    noCopy: false,
    subpath: '',
    driver: 'local',
    driverOptions: kind === 'shared' ? NFS : {},
    labels: {},
  } as const;
  const folder = {
    type: 'bind',
    source: '/srv/data',
    target: '/data',
    readOnly: false,
    propagation: 'rprivate',
    createHostPath: true,
    // As it comes over the wire, where all kinds of mounts are one message.
    driverOptions: {},
    labels: {},
  } as const;
  const container = containerSpec({
    image: `app:${version}-${nature}`,
    labels: { [CHANGE_LABEL]: `${wish.change}-${wish.changeNature}` },
    stopGraceMs: 1000,
    mounts: wish.inFolder ? [folder] : kind === 'data' || kind === 'shared' ? [mount] : [],
    ...(wish.checked || nature === 'sick'
      ? { healthCheck: { test: ['CMD', 'true'], intervalMs: 400, retries: 2 } }
      : {}),
  });
  return serviceSpec(name, {
    replicas: wish.replicas,
    update: wish.update,
    ...(isJob(wish) ? {} : { rollback: wish.rollback }),
    dependsOn: wish.dependsOn,
    ports:
      wish.hostPort === 0 ? [] : [{ target: 80, published: wish.hostPort, protocol: 'tcp', mode: 'host', hostIp: '' }],
    task: taskSpec({
      container,
      limits: { nanoCpus: cpusOf(wish) },
      networks: networksOf(wish),
      restart: isJob(wish) ? { ...RESTART, condition: 'on-failure' } : RESTART,
      ...(wish.maxPerNode === 0 ? {} : { placement: { spread: [], maxReplicasPerNode: wish.maxPerNode } }),
    }),
    ...(kind === 'global' || kind === 'global-job' ? { mode: kind, replicas: 1 } : {}),
    ...(kind === 'job' ? { mode: 'replicated-job' as const } : {}),
  });
}

/** A job that is good comes to an end. */
const natureOfJob = (nature: Nature): Nature =>
  nature === 'good' || nature === 'slow' || nature === 'sick' ? 'done' : nature;
