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
    while (world.now < end && world.violation === undefined) {
      await world.sleep(world.between(0, 2 * this.#shape.thinkMs));
      const members = this.#cluster.running();
      if (members.length === 0) continue;
      // Mostly the leader, sometimes one that only was or believes to be.
      const member = world.chance(0.8) ? (this.#cluster.leader() ?? world.pick(members)) : world.pick(members);
      const key = `k${world.integer(0, this.#shape.keys - 1)}`;
      const dice = world.random.next();
      if (dice < 0.4) await this.#get(member, key, seen);
      else if (dice < 0.8) await this.#write(member, key, 'put', '');
      else await this.#write(member, key, 'cas', seen.get(key) ?? '');
    }
  }

  async #get(member: Member, key: string, seen?: Map<string, string>): Promise<boolean> {
    const { raft, machine } = member;
    if (raft === undefined) return false;
    const operation = this.#call('get', key, '', '');
    const outcome = await this.#outcome(raft.readIndex());
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
    const outcome = await this.#outcome(raft.propose(Buffer.from(JSON.stringify(command))));
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
  async #outcome(call: Promise<void>): Promise<'done' | 'refused' | 'unknown'> {
    const gaveUp = this.#world.sleep(4 * this.#shape.electionTimeoutMs).then(() => 'unknown' as const);
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
