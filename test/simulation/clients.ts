import { isTsswarmError } from '../../base/errors.ts';
import type { Cluster, Member } from './cluster.ts';
import type { Found } from './contents.ts';
import type { Operation } from './linearizability.ts';
import type { Shape } from './profile.ts';
import type { World } from './world.ts';

/** One key of a transaction. */
interface Change {
  readonly key: string;
  readonly kind: 'put' | 'cas';
  readonly seen: Found | undefined;
  readonly removes?: boolean;
}

/** Somebody else was faster. */
const CONFLICTS = ['CONFLICT', 'ALREADY_EXISTS', 'NOT_FOUND'] as const;
/** Nothing happened. */
const REFUSALS = ['NOT_LEADER', 'UNAVAILABLE', ...CONFLICTS] as const;

/** Clients that write and read at random, and remember what they were told. */
export class Clients {
  readonly history: Operation[] = [];
  readonly #world: World;
  readonly #cluster: Cluster;
  readonly #shape: Shape;
  #nextId = 1;

  constructor(world: World, cluster: Cluster, shape: Shape) {
    this.#world = world;
    this.#cluster = cluster;
    this.#shape = shape;
  }

  /** Lets every client work until `end`. */
  run(end: number): void {
    for (let i = 0; i < this.#shape.clients; i++) void this.#client(end);
  }

  /** Reads every key through whoever leads; false when one got no answer. */
  async readAll(): Promise<boolean> {
    for (let i = 0; i < this.#shape.keys; i++) {
      const leader = this.#cluster.leader();
      if (leader === undefined || !(await this.#get(leader, `k${i}`))) return false;
    }
    return true;
  }

  async write(): Promise<boolean> {
    const leader = this.#cluster.leader();
    return leader !== undefined && (await this.#write(leader, [{ key: 'k0', kind: 'put', seen: undefined }]));
  }

  async #client(end: number): Promise<void> {
    const world = this.#world;
    const seen = new Map<string, Found>();
    // A client stays with a server as long as that answers, also when another leads by now.
    let home: Member | undefined;
    while (world.now < end && world.violation === undefined) {
      await world.sleep(world.between(0, 2 * this.#shape.thinkMs));
      const members = this.#cluster.running();
      if (members.length === 0) continue;
      const member: Member =
        home?.raft !== undefined && world.chance(0.9)
          ? home
          : ((world.chance(0.7) ? this.#cluster.leader() : undefined) ?? world.pick(members));
      const key = this.#key();
      const dice = world.random.next();
      const answered = await (dice < 0.4
        ? this.#get(member, key, seen)
        : this.#write(member, this.#changes(key, dice < 0.8 ? 'put' : 'cas', seen)));
      home = answered ? member : undefined;
    }
  }

  /** What one transaction does: the store takes several keys, and removals. */
  #changes(key: string, kind: Change['kind'], seen: ReadonlyMap<string, Found>): readonly Change[] {
    const change = { key, kind, seen: seen.get(key) };
    if (this.#cluster.profile.store !== true) return [change];
    const removes = this.#world.chance(0.1);
    const other = this.#key();
    if (other === key || this.#world.chance(0.7)) return [{ ...change, removes }];
    return [
      { ...change, removes },
      { key: other, kind: 'put', seen: undefined },
    ];
  }

  #key(): string {
    return `k${this.#world.integer(0, this.#shape.keys - 1)}`;
  }

  async #get(member: Member, key: string, seen?: Map<string, Found>): Promise<boolean> {
    const { raft, contents } = member;
    if (raft === undefined) return false;
    const operation = this.#call('get', key, '', '');
    const outcome = await this.#outcome(member, () => raft.readIndex());
    if (outcome !== 'done') return false;
    const found = contents.get(key);
    operation.result = found.value;
    operation.returnedAt = this.#world.now;
    seen?.set(key, found);
    this.history.push(operation);
    this.#cluster.coverage.reads++;
    return true;
  }

  async #write(member: Member, changes: readonly Change[]): Promise<boolean> {
    const { raft, contents } = member;
    if (raft === undefined) return false;
    const writes = changes.map(({ key, kind, seen, removes }) => {
      const value = removes === true ? '' : `v${this.#nextId++}`;
      return {
        operation: this.#call(kind, key, value, seen?.value ?? ''),
        seen: kind === 'cas' ? (seen ?? { value: '' }) : undefined,
      };
    });
    const operations = writes.map(({ operation }) => operation);
    // They belong to the history from the call on: the run may end before anybody knows how it went.
    this.history.push(...operations);
    const outcome = await this.#outcome(member, () => contents.write(writes));
    if (outcome === 'refused') {
      for (const operation of operations) this.history.splice(this.history.indexOf(operation), 1);
      return false;
    }
    if (outcome === 'unknown') {
      this.#cluster.coverage.unknown++;
      return false;
    }
    for (const operation of operations) operation.returnedAt = this.#world.now;
    this.#cluster.coverage.acknowledged++;
    return true;
  }

  #call(kind: Operation['kind'], key: string, value: string, expected: string): Operation {
    return { kind, key, value, expected, calledAt: this.#world.now, returnedAt: Infinity, result: '' };
  }

  /** A process that died never answers: after a while the client gives up and knows nothing. */
  async #outcome(member: Member, start: () => Promise<void>): Promise<'done' | 'refused' | 'unknown'> {
    // Impatient clients meet a new leader while an old one still believes to lead.
    const patienceMs = this.#world.between(0.2, 4) * this.#shape.electionTimeoutMs;
    const gaveUp = this.#world.sleep(patienceMs).then(() => 'unknown' as const);
    const call = new Promise<void>((resolve, reject) => {
      const { life } = member;
      // What a process that has died still does nobody hears of.
      const heard =
        <T>(act: (value: T) => void) =>
        (value: T): void => {
          if (life.alive) act(value);
        };
      this.#world.enter(life, () => void start().then(heard(resolve), heard(reject)), 4);
    });
    const answered = call.then(
      () => 'done' as const,
      (error: unknown) => {
        if (CONFLICTS.some((code) => isTsswarmError(error, code))) this.#cluster.coverage.conflicts++;
        return REFUSALS.some((code) => isTsswarmError(error, code)) ? ('refused' as const) : ('unknown' as const);
      },
    );
    return Promise.race([answered, gaveUp]);
  }
}
