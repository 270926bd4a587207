import type { DesiredProject, ServiceSpec, UpdateConfig, VolumeSpec } from '../../../proto/types/index.ts';
import { containerSpec } from '../../builders/container-spec.ts';
import { project, serviceSpec, taskSpec } from '../../builders/specs.ts';
import type { World } from '../world.ts';
import type { Nature } from './kernel.ts';

/** A service of the simulation: what never changes of it, and what does. */
export interface Wish {
  readonly name: string;
  readonly kind: 'web' | 'data' | 'global' | 'shared';
  readonly checked: boolean;
  readonly update: UpdateConfig;
  readonly rollback: UpdateConfig;
  readonly maxPerNode: number;
  replicas: number;
  version: number;
  nature: Nature;
}

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

/** Draws the services of a seed. */
export function drawWishes(world: World): readonly Wish[] {
  const kinds: Wish['kind'][] = ['web'];
  if (world.chance(0.6)) kinds.push('data');
  if (world.chance(0.4)) kinds.push('global');
  if (world.chance(0.4)) kinds.push('shared');
  if (world.chance(0.2)) kinds.push('web');
  return kinds.map((kind, index) => {
    const parallelism = world.pick([0, 1, 1, 2]);
    const maxPerNode = kind === 'web' && world.chance(0.2) ? 2 : 0;
    // Side by side they need room for both, and would write the same files.
    const order =
      maxPerNode > 0 || kind === 'shared'
        ? 'stop-first'
        : world.pick(['stop-first', 'stop-first', 'start-first'] as const);
    const config = (): UpdateConfig => ({
      parallelism,
      order,
      delayMs: world.pick([0, 0, 300]),
      monitorMs: world.pick([0, 500, 1500]),
      maxFailureRatio: world.pick([0, 0, 0.3]),
    });
    return {
      name: `${kind}${index}`,
      kind,
      checked: world.chance(0.5),
      update: { ...config(), failureAction: world.pick(['pause', 'continue', 'rollback', 'rollback'] as const) },
      rollback: { ...config(), failureAction: world.pick(['pause', 'continue'] as const) },
      maxPerNode,
      replicas: kind === 'data' ? world.integer(1, 2) : world.integer(1, 4),
      version: 0,
      nature: 'good',
    };
  });
}

/** Changes one thing about one service. */
export function change(world: World, wishes: readonly Wish[]): void {
  const wish = world.pick(wishes);
  if (wish.kind !== 'global' && world.chance(0.4)) {
    wish.replicas = wish.kind === 'data' ? world.integer(1, 2) : world.integer(0, 5);
    return;
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
    wish.replicas = Math.max(1, wish.replicas);
    // More than there is room for would wait for ever, and so would an update.
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
  return project(wishes.map(specOf), { volumes: [DATA, SHARED] });
}

function specOf(wish: Wish): ServiceSpec {
  const { kind, name, version, nature } = wish;
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
  const container = containerSpec({
    image: `app:${version}-${nature}`,
    stopGraceMs: 1000,
    mounts: kind === 'data' || kind === 'shared' ? [mount] : [],
    ...(wish.checked || nature === 'sick'
      ? { healthCheck: { test: ['CMD', 'true'], intervalMs: 400, retries: 2 } }
      : {}),
  });
  return serviceSpec(name, {
    replicas: wish.replicas,
    update: wish.update,
    rollback: wish.rollback,
    task: taskSpec({
      container,
      restart: RESTART,
      ...(wish.maxPerNode === 0 ? {} : { placement: { spread: [], maxReplicasPerNode: wish.maxPerNode } }),
    }),
    ...(kind === 'global' ? { mode: 'global' as const, replicas: 1 } : {}),
  });
}
