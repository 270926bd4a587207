import { isTsswarmError } from '../../base/errors.ts';
import type { Cluster, Member } from './cluster.ts';
import type { Operation } from './linearizability.ts';
import type { Shape } from './profile.ts';
import type { World } from './world.ts';

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
    return leader !== undefined && (await this.#write(leader, 'k0', 'put', ''));
  }

  async #client(end: number): Promise<void> {
    const world = this.#world;
    const seen = new Map<string, string>();
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
      const key = `k${world.integer(0, this.#shape.keys - 1)}`;
      const dice = world.random.next();
      const answered = await (dice < 0.4
        ? this.#get(member, key, seen)
        : dice < 0.8
          ? this.#write(member, key, 'put', '')
          : this.#write(member, key, 'cas', seen.get(key) ?? ''));
      home = answered ? member : undefined;
    }
  }

  async #get(member: Member, key: string, seen?: Map<string, string>): Promise<boolean> {
    const { raft, machine } = member;
    if (raft === undefined) return false;
    const operation = this.#call('get', key, '', '');
    const outcome = await this.#outcome(member, () => raft.readIndex());
    if (outcome !== 'done') return false;
    operation.result = machine.registers[key] ?? '';
    operation.returnedAt = this.#world.now;
    seen?.set(key, operation.result);
    this.history.push(operation);
    this.#cluster.coverage.reads++;
    return true;
  }

  async #write(member: Member, key: string, kind: 'put' | 'cas', expected: string): Promise<boolean> {
    const { raft, machine } = member;
    if (raft === undefined) return false;
    const id = this.#nextId++;
    const operation = this.#call(kind, key, `v${id}`, expected);
    const command = { id, kind, key, value: operation.value, expected };
    // It belongs to the history from the call on: the run may end before anybody knows how it went.
    this.history.push(operation);
    const payload = Buffer.from(JSON.stringify(command));
    const outcome = await this.#outcome(member, () => raft.propose(payload));
    if (outcome === 'refused') {
      this.history.splice(this.history.indexOf(operation), 1);
      return false;
    }
    if (outcome === 'unknown') {
      this.#cluster.coverage.unknown++;
      return false;
    }
    const found = machine.found.get(id);
    if (found === undefined) this.#world.fail(`${member.id} acknowledged a command that it has not applied`);
    operation.result = found ?? '';
    operation.returnedAt = this.#world.now;
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
      this.#world.enter(member.life, () => void start().then(resolve, reject), 4);
    });
    const answered = call.then(
      () => 'done' as const,
      (error: unknown) =>
        isTsswarmError(error, 'NOT_LEADER') || isTsswarmError(error, 'UNAVAILABLE')
          ? ('refused' as const)
          : ('unknown' as const),
    );
    return Promise.race([answered, gaveUp]);
  }
}
