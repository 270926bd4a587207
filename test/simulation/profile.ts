import type { World } from './world.ts';

export type ProfileName = 'mild' | 'hostile' | 'disks' | 'members' | 'store' | 'services';

/** How often what goes wrong; probabilities for each message or write, and mean ms between acts of the nemesis. */
export interface Profile {
  readonly drop: number;
  readonly duplicate: number;
  readonly slowMessage: number;
  readonly slowMessageMs: number;
  readonly nemesisMs: number;
  /** Weights of the nemesis's acts. */
  readonly acts: Readonly<Partial<Record<Act, number>>>;
  readonly slowWrite: number;
  readonly slowWriteMs: number;
  readonly failWrite: number;
  /** Members run the product's store instead of registers, and what decides by it who is a member. */
  readonly store?: true;
  /** Workers run services, and ms in which faults happen. */
  readonly services?: number;
  /** By what clocks are wrong at most, ms; absent: it makes no difference, and they are wrong by hours. */
  readonly maxSkewMs?: number;
}

export type Act =
  | 'partition'
  | 'isolate-leader'
  | 'one-way'
  | 'bridge'
  | 'heal'
  | 'crash'
  | 'crash-leader'
  | 'power-loss'
  | 'pause'
  | 'membership'
  | 'transfer'
  | 'maintain';

const LINKS = { partition: 3, 'isolate-leader': 3, 'one-way': 3, bridge: 1, heal: 4 } as const;

const PROFILES: Readonly<Record<ProfileName, (world: World) => Profile>> = {
  mild: (world) => ({
    drop: 0.01,
    duplicate: 0.01,
    slowMessage: 0.01,
    slowMessageMs: 100,
    nemesisMs: world.between(600, 1500),
    acts: { ...LINKS, crash: 2, 'crash-leader': 2, pause: 1, transfer: 1, membership: 1 },
    slowWrite: 0.01,
    slowWriteMs: 50,
    failWrite: 0,
  }),
  hostile: (world) => ({
    drop: world.between(0, 0.4),
    duplicate: world.between(0, 0.2),
    slowMessage: world.between(0, 0.2),
    slowMessageMs: world.between(50, 1500),
    nemesisMs: world.between(100, 500),
    acts: { ...LINKS, crash: 4, 'crash-leader': 4, 'power-loss': 1, pause: 3, transfer: 2, membership: 1 },
    slowWrite: 0.1,
    slowWriteMs: 200,
    failWrite: 0.0005,
  }),
  disks: (world) => ({
    drop: world.between(0, 0.05),
    duplicate: 0.02,
    slowMessage: 0.05,
    slowMessageMs: 200,
    nemesisMs: world.between(100, 400),
    acts: { 'isolate-leader': 1, heal: 2, crash: 6, 'crash-leader': 6, 'power-loss': 3, pause: 1 },
    slowWrite: world.between(0.05, 0.5),
    slowWriteMs: world.between(50, 600),
    failWrite: world.between(0, 0.005),
  }),
  members: (world) => ({
    drop: world.between(0, 0.1),
    duplicate: 0.02,
    slowMessage: 0.05,
    slowMessageMs: world.between(50, 500),
    nemesisMs: world.between(80, 300),
    acts: { ...LINKS, crash: 3, 'crash-leader': 2, transfer: 4, membership: 14, pause: 1 },
    slowWrite: 0.05,
    slowWriteMs: 100,
    failWrite: 0.0005,
  }),
  store: (world) => ({
    drop: world.between(0, 0.15),
    duplicate: world.between(0, 0.1),
    slowMessage: world.between(0, 0.1),
    slowMessageMs: world.between(50, 800),
    nemesisMs: world.between(100, 600),
    acts: { ...LINKS, crash: 5, 'crash-leader': 4, 'power-loss': 1, pause: 2, transfer: 3, membership: 5, maintain: 1 },
    slowWrite: world.between(0, 0.2),
    slowWriteMs: 200,
    failWrite: world.between(0, 0.001),
    store: true,
  }),
  services: (world) => ({
    drop: world.between(0, 0.05),
    duplicate: 0.02,
    slowMessage: world.between(0, 0.05),
    slowMessageMs: world.between(50, 400),
    nemesisMs: world.pick([800, 2000, 6000]),
    acts: { ...LINKS, heal: 6, crash: 4, 'crash-leader': 4, 'power-loss': 1, pause: 2, transfer: 3, membership: 1 },
    slowWrite: world.between(0, 0.05),
    slowWriteMs: 100,
    failWrite: world.between(0, 0.0005),
    store: true,
    services: world.pick([10_000, 20_000, 40_000]),
    // Those that differ by more than an hour cannot work together.
    maxSkewMs: world.pick([0, 50, 1000, 1_700_000]),
  }),
};

export const PROFILE_NAMES = Object.keys(PROFILES) as readonly ProfileName[];

export function drawProfile(name: ProfileName, world: World): Profile {
  return PROFILES[name](world);
}

/** A cluster's shape: rare faults of the code hide in one configuration. */
export interface Shape {
  readonly founders: number;
  readonly spares: number;
  readonly electionTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly preVote: boolean;
  readonly maxAppendEntries: number;
  readonly maxAppendBytes: number;
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  readonly maxPartialMessages: number;
  readonly snapshotEvery: number;
  readonly trailing: number;
  readonly snapshotChunkBytes: number;
  readonly writeMs: number;
  readonly delayMs: number;
  readonly clients: number;
  readonly keys: number;
  readonly thinkMs: number;
  /** By how much each server's clock may run too fast or too slow, as a part of the time that passes. */
  readonly clockError: number;
}

export function drawShape(world: World): Shape {
  const electionTimeoutMs = world.integer(100, 400);
  return {
    founders: world.pick([1, 3, 3, 3, 3, 5, 5, 4]),
    spares: world.integer(0, 2),
    electionTimeoutMs,
    heartbeatMs: electionTimeoutMs / world.integer(3, 8),
    preVote: world.chance(0.7),
    maxAppendEntries: world.pick([1, 2, 8, 64]),
    maxAppendBytes: world.pick([1, 200, 4096]),
    maxInflightMessages: world.pick([1, 2, 8, 64]),
    maxInflightBytes: world.pick([1, 1000, 1_000_000]),
    maxPartialMessages: world.pick([1, 2, 64]),
    snapshotEvery: world.pick([5, 20, 100, 500]),
    trailing: world.pick([0, 1, 10, 100]),
    snapshotChunkBytes: world.pick([16, 256, 65_536]),
    writeMs: world.pick([0.1, 1, 5, 20]),
    delayMs: world.pick([0.1, 1, 5, 20]),
    clients: world.integer(2, 6),
    keys: world.integer(2, 8),
    thinkMs: world.pick([5, 20, 60]),
    clockError: world.pick([0.04, 0.04, 0.2]),
  };
}
