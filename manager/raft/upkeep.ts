import type { RaftStatus, ServerId, ServerStatus } from './types.ts';

/** When the leader changes the membership by itself. Times in ms. */
export interface UpkeepPolicy {
  /** A non-voter that has kept up for this long gets its vote: whoever let it in may have died over that. */
  readonly stableMs: number;
  /** A non-voter that has been silent for this long is taken out. It finds its way back when it returns. */
  readonly nonVoterAfterMs: number;
  /** The same for voters; undefined: never, as in Docker Swarm. */
  readonly voterAfterMs: number | undefined;
  /** No voter is taken out for its silence if fewer than these would be left. */
  readonly minVoters: number;
}

/**
 * Voters stay unless somebody asks for more: a manager that is switched off for a day comes back, and three of which one
 * is away survive no fewer failures than the two that would be left.
 */
export const UPKEEP_DEFAULTS: UpkeepPolicy = {
  stableMs: 5_000,
  nonVoterAfterMs: 60_000,
  voterAfterMs: undefined,
  minVoters: 3,
};

/** A change that is due. */
export interface UpkeepStep {
  readonly kind: 'promote' | 'remove';
  readonly id: ServerId;
  /** For the log: "it ..." */
  readonly reason: string;
}

/** Entries that a server may lack and still count as keeping up. */
const LAG = 64;

/**
 * Finds out which server should be taken out, or get its vote; the part of Consul's autopilot that keeps the members of a
 * group those that are there. Remembers only since when non-voters keep up.
 */
export class Upkeep {
  readonly #keepsUpSince = new Map<ServerId, number>();

  /**
   * The next change that is due: one at a time, as Raft takes them. Only a leader has reason to ask.
   * @param isManager whether a server is meant to be a member
   * @param now monotonic ms of the clock that Raft uses
   */
  look(
    status: RaftStatus,
    isManager: (id: ServerId) => boolean,
    policy: UpkeepPolicy,
    now: number,
  ): UpkeepStep | undefined {
    const { servers, leaderId, lastIndex } = status;
    for (const id of this.#keepsUpSince.keys())
      if (!servers.some((server) => server.id === id && !server.voter)) this.#keepsUpSince.delete(id);
    if (status.role !== 'leader' || !status.ready) return undefined;
    const others = servers.filter(({ id }) => id !== leaderId);
    for (const { id, voter, reachable, matchIndex } of others) {
      if (voter || !reachable || lastIndex - matchIndex > LAG) this.#keepsUpSince.delete(id);
      else if (!this.#keepsUpSince.has(id)) this.#keepsUpSince.set(id, now);
    }
    // A leader that is none any more hands over; whoever comes next takes it out.
    const stray = others.find(({ id, voter }) => !isManager(id) && (!voter || canSpare(servers, id)));
    if (stray !== undefined) return { kind: 'remove', id: stray.id, reason: 'it is no manager' };
    const silence = ({ lastContactMs }: ServerStatus): number => now - (lastContactMs ?? now);
    const silent = (server: ServerStatus, afterMs: number): boolean =>
      !server.reachable && silence(server) >= afterMs && server.id !== leaderId;
    const { nonVoterAfterMs, voterAfterMs, minVoters, stableMs } = policy;
    const gone = others.find((server) => !server.voter && silent(server, nonVoterAfterMs));
    if (gone !== undefined) return { kind: 'remove', id: gone.id, reason: silentFor(silence(gone)) };
    const voters = servers.filter(({ voter }) => voter);
    const [dead] = voters
      .filter((server) => voterAfterMs !== undefined && silent(server, voterAfterMs))
      .toSorted((a, b) => silence(b) - silence(a));
    if (dead !== undefined && voters.length - 1 >= minVoters && canSpare(servers, dead.id))
      return { kind: 'remove', id: dead.id, reason: silentFor(silence(dead)) };
    const ready = others.find(
      ({ id, voter }) => !voter && isManager(id) && now - (this.#keepsUpSince.get(id) ?? now) >= stableMs,
    );
    return ready === undefined ? undefined : { kind: 'promote', id: ready.id, reason: 'it keeps up' };
  }
}

/** Whether those who are there would be a quorum of the rest. */
function canSpare(servers: readonly ServerStatus[], id: ServerId): boolean {
  const rest = servers.filter((server) => server.voter && server.id !== id);
  return rest.filter(({ reachable }) => reachable).length * 2 > rest.length;
}

const silentFor = (ms: number): string => `it has been silent for ${Math.round(ms / 1000)} s`;
